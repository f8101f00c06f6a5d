"""Options that several commands share, and standard output for tables."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ntire_sr.commands.command import option
from ntire_sr.core.errors import UsageError
from ntire_sr.core.run_folder import DEFAULT_RUN, RunFolder

if TYPE_CHECKING:
    from rich.console import Console

PATH = click.Path(path_type=Path)
DEVICE = click.Choice(["auto", "cpu", "cuda"])


class Scale(click.Choice):
    """A scale of the challenge, as an integer."""

    def __init__(self) -> None:
        super().__init__(["4", "8"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """4 or 8."""
        return int(super().convert(str(value), param, ctx))


class NamedFolder(click.ParamType):
    """A folder with a name for it, NAME=FOLDER; the folder may contain further equals signs."""

    name = "NAME=FOLDER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        """(name, folder)."""
        if isinstance(value, tuple):  # click converts its own defaults twice
            return value
        name, sign, folder = str(value).partition("=")
        if not (name.strip() and sign and folder):
            self.fail(f"{value!r} is not NAME=FOLDER, such as mine={value.strip('=') or 'FOLDER'}", param, ctx)
        return name.strip(), Path(folder)


SCALE = Scale()
NAMED_FOLDER = NamedFolder()

run_option = option("--run", type=PATH, default=DEFAULT_RUN, help="Run folder: the default place of inputs and outputs whose options are not given.")
device_option = option("--device", type=DEVICE, default="auto", help="Device to compute on; auto uses a GPU if there is one.")
model_option = option("--model", metavar="FILE.py:FUNCTION|MODULE:FUNCTION|NAME", show_default="the weights'", help="Network to draw with: your function that builds it, or a name that `ntire-sr models` lists. This runs the code that you name.")


def samples_folder(given: Path | None, run: RunFolder) -> Path:
    """Return the folder of samples that was given, or that of the run.

    Raises:
        UsageError: none was given, and the run has none.
    """
    if given is None and not run.samples.exists():
        raise UsageError(f"the folder of samples {run.samples} does not exist", "run `ntire-sr generate` first, or give --sr")
    return given or run.samples


def stdout_console(quiet: bool = False) -> "Console":
    """A console on standard output for tables and paths; a quiet one prints nothing."""
    from rich.console import Console

    # a pipe has no width: there, wide tables and long paths must not be wrapped
    width = None if sys.stdout.isatty() else 200
    # names of files and methods are printed as they are: [x] is no markup, and :x: is no emoji
    return Console(width=width, quiet=quiet, markup=False, emoji=False, highlight=False)
