"""What a command prints: its result as text or JSON, notes and progress; with `--quiet` only errors."""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ntire_sr.commands.command import option, option_group
from ntire_sr.commands.options import stdout_console
from ntire_sr.core.errors import EarlierNameWarning

if TYPE_CHECKING:
    from rich.console import Console

    from ntire_sr.core.progress import Progress

Result = TypeVar("Result")


@dataclass(frozen=True)
class Output:
    """How a command prints."""

    as_json: bool
    quiet: bool

    def say(self, text: str) -> None:
        """Print a line of the result to standard output, unless it is printed as JSON."""
        if not (self.quiet or self.as_json):
            click.echo(text)

    def note(self, text: str) -> None:
        """Print a line to standard error that is not part of the result."""
        if not self.quiet:
            click.echo(text, err=True)

    def json(self, result: Result) -> Result:
        """Print the result if it is wanted as JSON, also if the command is quiet; return it unchanged."""
        from ntire_sr.core.files import json_safe

        if self.as_json:
            click.echo(json.dumps(json_safe(result), indent=1))
        return result

    @contextmanager
    def note_earlier_names(self) -> Iterator[None]:
        """Note each `EarlierNameWarning`, which Python hides by default; other warnings are shown as usual."""
        show_warning = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if issubclass(category, EarlierNameWarning):
                self.note(f"warning: {message}")
            else:
                show_warning(message, category, *place)

        with warnings.catch_warnings():
            warnings.simplefilter("always", EarlierNameWarning)
            warnings.showwarning = show
            yield

    def console(self) -> "Console":
        """A console on standard output for the tables of the result."""
        return stdout_console(quiet=self.quiet or self.as_json)

    def progress(self) -> "Progress":
        """Where functions report their progress."""
        from ntire_sr.core.progress import SILENT, TerminalProgress

        return SILENT if self.quiet else TerminalProgress()


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json` and `--quiet` to a command, which receives them as `output`."""

    @option_group(
        "Output",
        option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        option("--quiet", is_flag=True, help="Print only errors, and the result if --json asks for it."),
    )
    @wraps(command)
    def with_output(*args: Any, as_json: bool, quiet: bool, **options: Any) -> Any:
        output = Output(as_json, quiet)
        with output.note_earlier_names():
            return command(*args, output=output, **options)

    return with_output
