"""The command that serves: its lock, its address, and what kill -9 leaves."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from studying import Server
from waiting import PATIENCE_SECONDS

import ntire_sr.study
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.study import serving as module
from ntire_sr.study.answers import read_answers
from ntire_sr.study.folder import StudyFolder, load_study
from ntire_sr.study.serving import serve_study

ADA = "a" * 32


def started(folder, *words):
    """A server in a process of its own, and the link that it printed."""
    command = [sys.executable, "-m", "ntire_sr", "study", "serve", str(folder.path), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    line = process.stdout.readline()
    match = re.match(r"raters open: http://127\.0\.0\.1:(\d+)/", line)
    assert match, line + process.communicate(timeout=PATIENCE_SECONDS)[0]
    return process, Server(int(match[1]))


def test_kill_9_loses_and_doubles_no_acknowledged_answer_and_the_same_address_goes_on(study_folder):
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


def test_beyond_this_machine_the_link_holds_a_token_that_stays(study_folder, monkeypatch):
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    links = []
    for _ in range(2):
        serve_study(study_folder.path, host="0.0.0.0", started=links.append)
    assert links[0] == links[1] and re.fullmatch(r"http://0\.0\.0\.0:\d+/\?token=[\w-]{20,}", links[0])
    serve_study(study_folder.path, started=links.append)
    serve_study(study_folder.path, token="my-own-token", started=links.append)
    assert "token" not in links[2] and links[3].endswith("?token=my-own-token")
    with pytest.raises(UsageError, match="8 to 64 letters"):
        serve_study(study_folder.path, token="a b; path=/")


def test_a_port_that_is_taken_and_a_host_that_is_none_are_said(study_folder, monkeypatch):
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            NtireSrError, match=f"cannot listen on 127.0.0.1, port {port}: Address already in use"
        ):
            serve_study(study_folder.path, port=port)
        links = []
        monkeypatch.setattr(module, "fact", lambda book, name, otherwise: str(port))
        serve_study(study_folder.path, started=links.append)  # the last port is taken: any other
        assert f":{port}/" not in links[0]
    with pytest.raises(UsageError, match="is no address"):
        serve_study(study_folder.path, host="no.such.host.invalid", port=1)


def test_a_folder_that_cannot_be_written_to_is_said_before_anyone_rates(study_folder, monkeypatch):
    study_folder.answers.mkdir()  # stands in for a folder without permission, which does not stop the superuser
    with pytest.raises(NtireSrError, match=r"cannot store answers in .*[\s\S]*try: "):
        serve_study(study_folder.path)
    study_folder.answers.rmdir()
    real = open

    def refused(path, *words, **options):
        if path == study_folder.lock:
            raise PermissionError(13, "Permission denied")
        return real(path, *words, **options)

    monkeypatch.setattr("builtins.open", refused)
    with pytest.raises(
        NtireSrError, match=r"cannot store answers in .*: Permission denied\n  try: choose a folder"
    ):
        serve_study(study_folder.path)


def test_a_damaged_study_and_no_study_are_not_served(study_folder, study, tmp_path):
    study_folder.picture(min(study.pictures)).unlink()
    with pytest.raises(NtireSrError, match="is missing"):
        serve_study(study_folder.path)
    with pytest.raises(UsageError, match="holds no study"):
        serve_study(tmp_path)


@pytest.mark.parametrize(
    ("command", "hidden"),
    [("serve", "uvicorn"), ("serve", "starlette"), ("results", "evalica")],
)
def test_without_the_extra_one_line_says_what_to_install(
    study_folder, ntire_sr_command, monkeypatch, command, hidden
):
    loaded = ("ntire_sr.study.server", "uvicorn", "starlette", "evalica")
    for name in [name for name in sys.modules if name.startswith(loaded)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(ntire_sr.study, "server", raising=False)  # else an import finds it there
    monkeypatch.setitem(sys.modules, hidden, None)
    result = ntire_sr_command("study", command, study_folder.path)
    assert result.code == 1 and f"`study {command}` needs" in result.err and hidden in result.err
    assert "try: pip install 'ntire-sr[study]'" in result.err and "Traceback" not in result.err


def test_files_beside_the_answers_say_who_serves_without_the_token(study_folder, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "uvicorn.Server.run", lambda self, sockets: seen.append(json.loads(study_folder.serving.read_text()))
    )
    serve_study(study_folder.path)
    assert seen[0]["pid"] == os.getpid() and seen[0]["link"].startswith("http://127.0.0.1:")
    study_folder.serving.write_text('{"pid": "x"')  # cut off: the lock alone decides
    with open(study_folder.lock, "ab") as file:
        module.try_lock(file)
        with pytest.raises(NtireSrError, match=f"{re.escape(str(study_folder.path))} is served already\n"):
            serve_study(study_folder.path)
