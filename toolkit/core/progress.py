"""Progress bars on standard error; none where nobody watches, so that logs stay clean."""

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


def progress_bar(*columns: ProgressColumn, console: Console | None = None) -> Progress:
    """A bar with a description and further columns that vanishes when done.

    Args:
        columns: what stands behind the bar.
        console: where to; standard error if none.
    """
    console = console or Console(stderr=True)
    described = (TextColumn("{task.description}"), BarColumn())
    return Progress(*described, *columns, console=console, transient=True, disable=not console.is_terminal)


class Bar:
    """A progress bar on standard error, as a context that gives a function to call with (done[, total])."""

    def __init__(self, name: str):
        self.name = name

    def __enter__(self) -> Callable[..., None]:
        self.bar = progress_bar(MofNCompleteColumn(), TimeRemainingColumn())
        self.bar.start()
        task = self.bar.add_task(self.name, total=None)
        return lambda done, total=None: self.bar.update(task, completed=done, total=total)

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()


class Tasks(Bar):
    """A progress bar for tasks that follow one another: a function to call with (task, done, total).

    Where standard error is no terminal, a line says every half minute how far the work is.
    """

    def __init__(self) -> None:
        super().__init__("")

    def __enter__(self) -> Callable[..., None]:
        update = super().__enter__()
        task = self.bar.task_ids[0]
        began = said = time.monotonic()

        def report(name: str, done: int, total: int) -> None:
            nonlocal began, said
            now = time.monotonic()
            if name != self.name:
                self.name, began, said = name, now, now
                self.bar.reset(task, description=name)
            update(done, total)
            if now - said >= 30 and done and not sys.stderr.isatty():
                said = now
                left = (now - began) / done * (total - done)
                print(f"{name}: {done} of {total}, about {left:.0f} s left", file=sys.stderr, flush=True)

        return report
