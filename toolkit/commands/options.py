"""Options that several commands share, and standard output for tables."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ntire_sr.core.errors import UsageError
from ntire_sr.core.run_folder import DEFAULT_RUN, RunFolder

if TYPE_CHECKING:
    from rich.console import Console

PATH = click.Path(path_type=Path)
SCALE = click.Choice(["4", "8"])
DEVICE = click.Choice(["auto", "cpu", "cuda"])


class NamedFolder(click.ParamType):
    """A folder with a name for it, NAME=FOLDER; the folder may hold further equals signs."""

    name = "NAME=FOLDER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        """(name, folder)."""
        if isinstance(value, tuple):  # click converts its own defaults twice
            return value
        name, sign, folder = str(value).partition("=")
        if not (name.strip() and sign and folder):
            self.fail(f"{value!r} is not NAME=FOLDER, such as mine={value.strip('=') or 'FOLDER'}", param, ctx)
        return name.strip(), Path(folder)


NAMED_FOLDER = NamedFolder()

run_option = click.option("--run", type=PATH, default=DEFAULT_RUN, show_default=True, help="Run folder: inputs and outputs that have no option of their own lie in it.")
device_option = click.option("--device", type=DEVICE, default="auto", show_default=True, help="Device to compute on; auto uses a GPU if there is one.")
model_option = click.option("--model", metavar="FILE.py:FUNCTION|MODULE:FUNCTION|NAME", show_default="the weights'", help="Network to draw with: a function of your own that builds it, or a name that `ntire-sr models` lists. The code that is named here is run.")


def samples_folder(given: Path | None, run: RunFolder) -> Path:
    """The folder of samples that was given, or that of the run.

    Raises:
        UsageError: none was given, and the run has none.
    """
    if given is None and not run.samples.exists():
        raise UsageError(f"the folder of samples {run.samples} does not exist", "run `ntire-sr generate` first, or give --sr")
    return given or run.samples


def stdout_console(quiet: bool = False) -> "Console":
    """A console on standard output for tables and paths, which prints nothing if it is to be quiet."""
    from rich.console import Console

    # a pipe has no width: there, wide tables and long paths must not be wrapped
    return Console(quiet=quiet) if sys.stdout.isatty() else Console(width=200, quiet=quiet)
