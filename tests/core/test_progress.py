"""Bars, lines and messages of work that takes long."""

import io

import pytest
from rich.console import Console

from ntire_sr.core import progress as module
from ntire_sr.core.progress import SILENT, TerminalProgress


def a_console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def test_log_gets_messages_and_lines_but_no_bars(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    console = a_console(False)
    progress = TerminalProgress(console)
    progress.message("a [bold]path[/bold]")
    with progress.task("train", 100, done=20) as advance:
        for _ in range(20):
            now[0] += 4
            advance(note="5 images/s")
    # 28 and 36 of 100 after 32 and 64 seconds: 4 seconds for each item that is left
    assert console.file.getvalue().splitlines() == [
        "a [bold]path[/bold]",
        "train: 28 of 100, 5 images/s, about 5 min left",
        "train: 36 of 100, 5 images/s, about 4 min left",
    ]


def test_terminal_estimates_the_time_left_after_the_first_item(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    console = a_console(True)
    progress = TerminalProgress(console)
    with progress.task("trunk", 5, done=1) as advance:
        now[0] += 25
        advance(note="fast")
        with progress.task("decode", 1):  # shows all bars again
            pass
    assert "2/5" in console.file.getvalue() and "fast, about 75 s left" in console.file.getvalue()


def test_terminal_shows_nested_tasks_and_clears_them():
    console = a_console(True)
    progress = TerminalProgress(console)
    with progress.task("train", 2) as outer:
        with progress.task("decode", 3) as inner:
            inner(3)
        progress.message("between")
        outer(2, note="fast")
    assert "between" in console.file.getvalue()
    with progress.task("again", 1) as advance:  # a display can be opened anew
        advance()


def test_failed_task_restores_the_terminal():
    progress = TerminalProgress(a_console(True))
    with pytest.raises(KeyError), progress.task("check", 1):
        raise KeyError
    with progress.task("check", 1) as advance:
        advance()


def test_silent_progress_prints_nothing(capsys):
    with SILENT.task("check", 1) as advance:
        advance(1, note="fast")
    SILENT.message("text")
    assert capsys.readouterr() == ("", "")
