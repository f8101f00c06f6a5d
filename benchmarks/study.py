"""A study under load: many simulated raters at once, while its server is killed again and again.

    python benchmarks/study.py [--raters 200] [--at-once 20] [--kills 5]

Each rater sends every answer until it is acknowledged, under one id, as the page does. Afterwards the file of answers
must hold every acknowledged answer, each once, and no other.
"""

import argparse
import http.client
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ntire_sr.challenge.names import SampleName
from ntire_sr.data.photographs import VALIDATION_PHOTOGRAPHS, embedded_photographs
from ntire_sr.samples.image_files import read_image, write_png
from ntire_sr.study.answers import read_answers
from ntire_sr.study.folder import StudyFolder, load_study
from ntire_sr.study.make import make_study

RETRY_SECONDS = 0.1
PATIENCE_SECONDS = 120


def small_study(folder: Path) -> StudyFolder:
    """A study of three methods: noise of three strengths on two photographs."""
    noise = np.random.default_rng(0)
    for index, path in enumerate(embedded_photographs(VALIDATION_PHOTOGRAPHS)):
        image = np.ascontiguousarray(read_image(path)[:296, :400])
        write_png(folder / "HR" / f"{index:04d}.png", image)
        for strength in (4, 8, 16):
            noisy = np.clip(image + noise.normal(0, strength, image.shape), 0, 255).astype(np.uint8)
            write_png(folder / f"noise{strength}" / str(SampleName(index, 0)), noisy)
    methods = [(f"noise{strength}", folder / f"noise{strength}") for strength in (4, 8, 16)]
    make_study(folder / "HR", methods, folder / "study", places=10, size=64, check=2)
    return StudyFolder(folder / "study")


class Server:
    """The server in a process of its own, which can be killed and started again."""

    def __init__(self, folder: StudyFolder):
        self.folder, self.port, self.lock = folder, 0, threading.Lock()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        words = [
            sys.executable,
            "-m",
            "ntire_sr",
            "study",
            "serve",
            str(self.folder.path),
            "--port",
            str(self.port),
        ]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout
        line = self.process.stdout.readline()
        match = re.search(r":(\d+)/", line)
        assert match, line
        self.port = int(match[1])

    def kill(self) -> None:
        """Kill the server with `kill -9`."""
        self.process.kill()
        self.process.communicate()


def insist(server: Server, path: str, body: dict[str, Any] | None = None) -> tuple[Any, float, int]:
    """(answer, seconds of the attempt that succeeded, attempts) of a call that is repeated until it succeeds."""
    began, attempts = time.monotonic(), 0
    while time.monotonic() - began < PATIENCE_SECONDS:
        attempts += 1
        start = time.monotonic()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            content = json.dumps(body) if body else None
            connection.request("POST" if body else "GET", path, content, {"content-type": "application/json"})
            reply = connection.getresponse()
            found = json.loads(reply.read())
            connection.close()
            if reply.status == 200:
                return found, time.monotonic() - start, attempts
            assert reply.status >= 500, (reply.status, found)
        except (OSError, http.client.HTTPException, ValueError):
            pass
        time.sleep(RETRY_SECONDS)
    raise SystemExit(f"the server did not answer for {PATIENCE_SECONDS} s")


def rate(server: Server, number: int, acknowledged: dict[str, tuple[str, str]], seconds: list[float]) -> int:
    """All trials of one rater; the number of attempts beyond the first ones."""
    chance = random.Random(number)
    rater = f"{number:032x}"
    insist(server, "/api/raters", {"id": rater, "name": f"rater {number}", "mode": "full", "language": "en"})
    again = 0
    for trial in insist(server, f"/api/raters/{rater}")[0]["trials"]:
        order = chance.sample(trial["candidates"], len(trial["candidates"]))
        body = {"id": f"{chance.getrandbits(128):032x}", "rater": rater, "trial": trial["id"], "seconds": 1.0}
        _, took, attempts = insist(server, "/api/answers", body | {"ranking": [[each] for each in order]})
        acknowledged[body["id"]] = (rater, trial["id"])
        seconds.append(took)
        again += attempts - 1
    return again


def main() -> None:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raters", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = small_study(Path(place))
        study, digest = load_study(folder)
        server = Server(folder)
        acknowledged: dict[str, tuple[str, str]] = {}
        seconds: list[float] = []
        total = options.raters * len(study.places)
        began = time.monotonic()
        with ThreadPoolExecutor(options.at_once) as pool:
            raters = [
                pool.submit(rate, server, number, acknowledged, seconds) for number in range(options.raters)
            ]
            for kill in range(1, options.kills + 1):
                while len(acknowledged) < total * kill / (options.kills + 1) and not all(
                    r.done() for r in raters
                ):
                    time.sleep(0.002)
                server.kill()
                server.start()
            again = sum(rater.result() for rater in raters)
        took = time.monotonic() - began
        server.kill()
        _, answers = read_answers(folder.answers, digest)
        stored = {answer.id: (answer.rater, answer.trial) for answer in answers}
        lost = acknowledged.keys() - stored.keys()
        doubled = len(answers) - len(set(stored.values()))
        print(
            f"{options.raters} raters, {options.at_once} at once, server killed {options.kills} times, {took:.0f} s"
        )
        print(f"{len(acknowledged)} of {total} answers acknowledged, {again} sent again")
        print(
            f"{len(lost)} lost, {doubled} doubled, {len(stored.keys() - acknowledged.keys())} stored without being sent"
        )
        quantiles = ", ".join(
            f"{share:g} %: {np.quantile(seconds, share / 100) * 1000:.0f} ms" for share in (50, 95, 99)
        )
        print(f"time of an acknowledged answer: {quantiles}, slowest {max(seconds) * 1000:.0f} ms")
        if lost or doubled or stored != acknowledged:
            raise SystemExit("answers were lost or doubled")


if __name__ == "__main__":
    main()
