"""How far work has come: bars and messages on standard error, silent unless a command asks for them.

Every function that works for long takes a `progress` and opens a task on it:

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
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

SECONDS_BETWEEN_LINES = 30  # where standard error is no terminal


class Advance(Protocol):
    """Called when items are done."""

    def __call__(self, items: int = 1, note: str = "") -> None:
        """`items` more are done; `note`, such as a speed, stands behind the bar."""
        ...


class Progress(Protocol):
    """Where a function says how far it is and what the user should know meanwhile."""

    def task(self, name: str, total: int, done: int = 0) -> AbstractContextManager[Advance]:
        """Work on `total` items, of which `done` are done already; gives a function to call after each."""
        ...

    def message(self, text: str) -> None:
        """One line, said at once."""
        ...


class Silent:
    """Says nothing: what library functions do unless they are told otherwise.

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
    """Bars on standard error that vanish when done; where it is no terminal, a line every half minute.

    Args:
        console: where to; standard error if None.
    """

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True)
        self._bars: Bars | None = None

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Advance]:
        """See `Progress`."""
        if not self.console.is_terminal:
            yield self._in_lines(name, total, done)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        outermost = self._bars is None  # a terminal has room for one display, which shows all open tasks
        bars = self._bars = self._bars or Bars(*columns, console=self.console, transient=True)
        if outermost:
            bars.start()
        bar = bars.add_task(name, total=total, completed=done, note="")
        try:
            yield lambda items=1, note="": bars.update(bar, advance=items, note=note)
        finally:
            bars.remove_task(bar)
            if outermost:
                bars.stop()
                self._bars = None

    def message(self, text: str) -> None:
        """See `Progress`."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _in_lines(self, name: str, total: int, done: int) -> Advance:
        began = said = time.monotonic()
        first, count = done, done

        def advance(items: int = 1, note: str = "") -> None:
            nonlocal said, count
            count += items
            now = time.monotonic()
            if now - said >= SECONDS_BETWEEN_LINES and count > first:
                said = now
                left = (now - began) / (count - first) * (total - count)
                behind = f", {note}" if note else ""
                self.message(f"{name}: {count} of {total}{behind}, about {left:.0f} s left")

        return advance
