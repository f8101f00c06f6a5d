"""Progress bars on standard error; none where nobody watches, so that logs stay clean."""

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn


def progress_bar(*columns: ProgressColumn, console: Console | None = None) -> Progress:
    """A bar with a description and further columns that vanishes when done.

    Args:
        columns: what stands behind the bar.
        console: where to; standard error if none.
    """
    console = console or Console(stderr=True)
    described = (TextColumn("{task.description}"), BarColumn())
    return Progress(*described, *columns, console=console, transient=True, disable=not console.is_terminal)
