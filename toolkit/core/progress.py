"""Progress bars and messages on standard error, silent unless a command asks for them.

Every long-running function takes a `progress` and opens a task on it:

    with progress.task("decode", total=len(paths)) as advance:
        for path in paths:
            ...
            advance()
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

SECONDS_BETWEEN_LINES = 30  # if standard error is no terminal


class Advance(Protocol):
    """A function to call when items are done."""

    def __call__(self, items: int = 1, note: str = "") -> None:
        """Report that `items` more are done; `note`, such as a speed, is shown after the bar."""
        ...


class Progress(Protocol):
    """Receives the progress and the messages of a function."""

    def task(self, name: str, total: int, done: int = 0) -> AbstractContextManager[Advance]:
        """A context for a task of `total` items, of which `done` are done; gives a function to call after each item."""
        ...

    def message(self, text: str) -> None:
        """Print one line at once."""
        ...


class Silent:
    """Prints nothing: the default of library functions.

    >>> with SILENT.task("decode", total=2) as advance:
    ...     advance()
    """

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Advance]:
        """See `Progress`."""

        def advance(items: int = 1, note: str = "") -> None:
            pass

        yield advance

    def message(self, text: str) -> None:
        """See `Progress`."""


SILENT = Silent()


class TerminalProgress:
    """Bars on standard error that vanish when done, or a line every half minute if it is no terminal.

    Args:
        console: console to print to; None means standard error.
    """

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True, markup=False, emoji=False)
        self._bars: Bars | None = None

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Advance]:
        """See `Progress`."""
        if not self.console.is_terminal:
            yield self._advance_in_lines(name, total, done)
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        outermost = self._bars is None  # a terminal has room for one display, which shows all open tasks
        bars = self._bars = self._bars or Bars(*columns, console=self.console, transient=True)
        if outermost:
            bars.start()
        bar = bars.add_task(name, total=total, completed=done, note="")
        start, count = time.monotonic(), done

        def advance(items: int = 1, note: str = "") -> None:
            nonlocal count
            count += items
            left = _time_left(start, count - done, total - count)
            bars.update(bar, advance=items, note=", ".join(filter(None, (note, left))))

        try:
            yield advance
        finally:
            bars.remove_task(bar)
            if outermost:
                bars.stop()
                self._bars = None

    def message(self, text: str) -> None:
        """See `Progress`."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _advance_in_lines(self, name: str, total: int, done: int) -> Advance:
        start = printed = time.monotonic()
        count = done

        def advance(items: int = 1, note: str = "") -> None:
            nonlocal printed, count
            count += items
            now = time.monotonic()
            if now - printed >= SECONDS_BETWEEN_LINES and count > done:
                printed = now
                parts = (f"{name}: {count} of {total}", note, _time_left(start, count - done, total - count))
                self.message(", ".join(filter(None, parts)))

        return advance


def _time_left(start: float, done: int, left: int) -> str:
    """An estimate from the items done since `start`; empty before the first."""
    return f"about {describe_seconds((time.monotonic() - start) / done * left)} left" if done > 0 else ""


def describe_seconds(seconds: float) -> str:
    """A duration for people.

    >>> describe_seconds(75), describe_seconds(1200), describe_seconds(9000)
    ('75 s', '20 min', '2 h 30 min')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
