"""Serving a study: one server at a time, its address, and answers after a kill."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import closing

import pytest
from studying import Server
from waiting import PATIENCE_SECONDS

from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.study.answers import Rater, add_rater, open_answers, read_answers
from ntire_sr.study.folder import StudyFolder, load_study
from ntire_sr.study.serving import serve_study

ADA = "a" * 32


def started(folder, *words):
    """A server in another process, and a client for the link that it printed."""
    command = [sys.executable, "-m", "ntire_sr", "study", "serve", str(folder.path), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    line = process.stdout.readline()
    match = re.match(r"raters open: http://127\.0\.0\.1:(\d+)/", line)
    assert match, line + process.communicate(timeout=PATIENCE_SECONDS)[0]
    return process, Server(int(match[1]))


def test_kill_loses_no_acknowledged_answer_and_keeps_the_address(study_folder):
    acknowledged, ports, number = {}, set(), 0
    trials = None
    for _ in range(2):
        process, server = started(study_folder)
        ports.add(server.port)
        assert (
            server.post("/api/raters", {"id": ADA, "name": "", "mode": "full", "language": "en"}).status == 200
        )
        trials = trials or server.ask("GET", f"/api/raters/{ADA}").json["trials"]
        for trial in trials[number : number + 4]:
            number += 1
            body = {
                "id": f"{number:032x}",
                "rater": ADA,
                "trial": trial["id"],
                "ranking": [trial["candidates"]],
                "seconds": 1,
            }
            assert server.post("/api/answers", body).status == 200
            acknowledged[body["id"]] = trial["id"]
        with pytest.raises(
            NtireSrError,
            match=rf"is served already by process {process.pid} on .* at http://127\.0\.0\.1:{server.port}/",
        ):
            serve_study(study_folder.path)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert len(ports) == 1
    moved = StudyFolder(shutil.move(study_folder.path, study_folder.path.with_name("moved")))
    _, answers = read_answers(moved.answers, load_study(moved)[1])
    assert {answer.id: answer.trial for answer in answers} == acknowledged and len(answers) == 8
    process, server = started(moved)
    assert len(server.ask("GET", f"/api/raters/{ADA}").json["answers"]) == 8
    process.send_signal(signal.SIGINT)
    out = process.communicate(timeout=PATIENCE_SECONDS)[0]
    assert process.returncode == 0 and "8 answers of 1 rater" in out
    assert not moved.serving.exists()


class Listening(Exception):
    """Ends a server when it listens; its text is the link."""


def link_of(folder, **options) -> str:
    """The link under which a study would be served."""

    def stop(link):
        raise Listening(link)

    with pytest.raises(Listening) as caught:
        serve_study(folder.path, started=stop, **options)
    return str(caught.value)


def test_link_beyond_this_machine_holds_a_token_that_stays(study_folder):
    links = [link_of(study_folder, host="0.0.0.0") for _ in range(2)]
    assert links[0] == links[1] and re.fullmatch(r"http://[\d.]+:\d+/\?token=[\w-]{20,}", links[0])
    assert "//0.0.0.0:" not in links[0]
    assert "token" not in link_of(study_folder)
    assert link_of(study_folder, token="my-own-token").endswith("?token=my-own-token")
    with pytest.raises(UsageError, match="8 to 64 letters"):
        serve_study(study_folder.path, token="a b; path=/")


def test_last_port_is_used_again_or_another_if_it_is_taken(study_folder):
    link = link_of(study_folder)
    assert link_of(study_folder) == link
    port = int(link.rstrip("/").rpartition(":")[2])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert f":{port}/" not in link_of(study_folder)
        with pytest.raises(
            NtireSrError, match=f"cannot listen on 127.0.0.1, port {port}: Address already in use"
        ):
            serve_study(study_folder.path, port=port)


def test_port_of_raters_who_have_begun_is_not_replaced_in_silence(study_folder):
    port = int(link_of(study_folder).rstrip("/").rpartition(":")[2])
    with closing(open_answers(study_folder.answers, load_study(study_folder)[1])) as book:
        add_rater(book, Rater(ADA, "", "full", "en"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(NtireSrError, match=f"port {port}: Address already in use(.|\n)*need the new link"):
            serve_study(study_folder.path)
        free = socket.socket()
        free.bind(("127.0.0.1", 0))
        other = free.getsockname()[1]
        free.close()
        notes = []
        link_of(study_folder, port=other, note=notes.append)
    assert len(notes) == 1 and f"the port was {port}" in notes[0]


def test_public_url_is_the_link_and_holds_a_token(study_folder):
    link = link_of(study_folder, public_url="https://lab.edu:8443/study")
    assert re.fullmatch(r"https://lab\.edu:8443/study/\?token=[\w-]{20,}", link)
    assert link_of(study_folder, public_url="http://localhost:5000") == "http://localhost:5000/"
    for text in (
        "lab.edu",
        "ftp://lab.edu",
        "https://",
        "https://lab.edu:x",
        "https://a@lab.edu",
        "https://lab.edu?x=1",
    ):
        with pytest.raises(UsageError, match=r"--public-url .* is not the address of a page"):
            serve_study(study_folder.path, public_url=text)


def test_unknown_host_is_refused(study_folder):
    with pytest.raises(UsageError, match="is no address"):
        serve_study(study_folder.path, host="no.such.host.invalid", port=1)


@pytest.mark.parametrize("name", ["answers", "lock"])
def test_folder_that_cannot_be_written_to_is_refused_at_the_start(study_folder, name):
    getattr(study_folder, name).mkdir()  # like missing permissions, which do not stop the superuser
    with pytest.raises(NtireSrError, match=r"cannot store answers in .*[\s\S]*try: "):
        serve_study(study_folder.path)


def test_damaged_and_missing_studies_are_not_served(study_folder, study, tmp_path):
    study_folder.picture(min(study.pictures)).unlink()
    with pytest.raises(NtireSrError, match="is missing"):
        serve_study(study_folder.path)
    with pytest.raises(UsageError, match="holds no study"):
        serve_study(tmp_path)


HIDING = """
import sys
sys.modules[sys.argv.pop(1)] = None  # as if it were not installed
from ntire_sr.commands.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("command", "hidden"), [("serve", "uvicorn"), ("serve", "starlette"), ("results", "evalica")]
)
def test_missing_extra_is_one_line_with_the_command_to_install_it(study_folder, command, hidden):
    words = [sys.executable, "-c", HIDING, hidden, "study", command, str(study_folder.path)]
    result = subprocess.run(words, capture_output=True, text=True)
    assert result.returncode == 1 and f"`study {command}` needs" in result.stderr and hidden in result.stderr
    assert "try: pip install 'ntire-sr[study]'" in result.stderr and "Traceback" not in result.stderr


def test_second_server_names_the_first_one_without_its_token(study_folder):
    def serve_again(link):
        record = json.loads(study_folder.serving.read_text())
        assert record["pid"] == os.getpid() and record["link"] == link
        with pytest.raises(NtireSrError, match="is served already by process") as caught:
            serve_study(study_folder.path)
        assert "my-own-token" not in str(caught.value)
        study_folder.serving.write_text('{"pid": "x"')  # cut off: the lock alone decides
        with pytest.raises(NtireSrError, match=f"{re.escape(str(study_folder.path))} is served already\n"):
            serve_study(study_folder.path)
        raise Listening

    with pytest.raises(Listening):
        serve_study(study_folder.path, token="my-own-token", started=serve_again)
    link_of(study_folder)  # the lock is free again
