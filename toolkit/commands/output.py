"""What a command prints: its result as text or JSON, notes and progress; or, if it is to be quiet, only errors."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from ntire_sr.commands.options import stdout_console

if TYPE_CHECKING:
    from rich.console import Console

    from ntire_sr.core.progress import Progress


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
        """Print a line beside the result to standard error."""
        if not self.quiet:
            click.echo(text, err=True)

    def json(self, value: Any) -> None:
        """Print the result, if it is wanted as JSON; also if the command is quiet."""
        from ntire_sr.core.files import json_safe

        if self.as_json:
            click.echo(json.dumps(json_safe(value), indent=1))

    def console(self) -> "Console":
        """A console on standard output for the tables of the result."""
        return stdout_console(quiet=self.quiet or self.as_json)

    def progress(self) -> "Progress":
        """Where functions report their progress."""
        from ntire_sr.core.progress import SILENT, TerminalProgress

        return SILENT if self.quiet else TerminalProgress()


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json` and `--quiet` to a command, which gets them as `output`."""

    @click.option("--json", "as_json", is_flag=True, default=False, show_default=True, help="Print the result as JSON.")
    @click.option("--quiet", is_flag=True, default=False, show_default=True, help="Print nothing but errors, and the result if it is asked for as JSON.")
    @wraps(command)
    def with_output(*args: Any, as_json: bool, quiet: bool, **options: Any) -> Any:
        return command(*args, output=Output(as_json, quiet), **options)

    return with_output
