"""Processes that start in milliseconds: forked from one that has imported torch and the package.

A new interpreter takes two seconds of processor time for these imports, and torchrun a third.
"""

import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waiting import PATIENCE_SECONDS, wait_until

# on Windows each process imports for itself
_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_CONTEXT: Any = multiprocessing.get_context(_METHOD)
_CONTEXT.set_forkserver_preload(
    [
        *("pytest", "torch.distributed", "torch.nn.parallel", "torch._dynamo"),
        *("ntire_sr.commands.cli", "ntire_sr.training.loop", "ntire_sr.training.run_config"),
        *("ntire_sr.training.trainers.registry", "ntire_sr.sampling.generate", "ntire_sr.sampling.project"),
        *(
            "ntire_sr.evaluation.score_folder",
            "ntire_sr.evaluation.pages.terminal",
            "ntire_sr.submission.package",
        ),
    ]
)


@dataclass(frozen=True)
class Result:
    """How one call of the command ended."""

    code: int
    out: str
    err: str


class Forked:
    """A function in another process with its environment and streams, in this process's folder.

    Args:
        function: a function of a module that can be imported.
        arguments: its arguments.
        variables: environment variables in addition to those of this process.
    """

    def __init__(
        self, function: Callable[..., object], *arguments: Any, variables: dict[str, str] | None = None
    ):
        self.folder = Path(tempfile.mkdtemp())
        environment = os.environ | (variables or {})
        self.process = _CONTEXT.Process(
            target=_run, args=(str(Path.cwd()), environment, self.folder, function, arguments), daemon=True
        )
        self.process.start()
        self.pid: int = self.process.pid

    def poll(self) -> int | None:
        """The exit code; None while the process runs."""
        code: int | None = self.process.exitcode
        return code

    @property
    def out(self) -> str:
        """What it has printed so far."""
        path = self.folder / "out"
        return path.read_text() if path.exists() else ""

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> Result:
        """Kill it, unless it has ended."""
        if self.poll() is None:
            self.process.kill()
        return self.wait()

    def wait(self, seconds: float = PATIENCE_SECONDS) -> Result:
        """How it ended.

        Raises:
            TimeoutError: it still runs after so many seconds.
        """
        self.process.join(seconds)
        code = self.poll()
        if code is None:
            raise TimeoutError
        texts = [
            path.read_text() if path.exists() else "" for path in (self.folder / "out", self.folder / "err")
        ]
        shutil.rmtree(self.folder)
        return Result(code, *texts)


def _run(
    folder: str, environment: dict[str, str], streams: Path, function: Callable[..., object], arguments: Any
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for name, number in (("out", 1), ("err", 2)):
        file = os.open(streams / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    function(*arguments)


def run_command(words: Sequence[str]) -> None:
    """The command, as from a shell."""
    from ntire_sr.commands.cli import main

    sys.argv = ["ntire-sr", *words]
    main()


def start_command(*words: object, variables: dict[str, str] | None = None) -> Forked:
    """Start the command."""
    return Forked(run_command, [*map(str, words)], variables=variables)


def run_group(*words_of_each: Sequence[object]) -> list[Result]:
    """Run the command in several processes that belong together, as torchrun does.

    When one fails, the others are stopped.

    Args:
        words_of_each: words of the command of each process.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(len(words_of_each)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        start_command(*words, variables=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank, words in enumerate(words_of_each)
    ]

    def ended() -> bool:
        codes = [process.poll() for process in processes]
        return None not in codes or any(codes)

    wait_until(ended)
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    return [process.wait() for process in processes]
