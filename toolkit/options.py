"""Options that several commands share."""

from pathlib import Path

import click

from ntire_sr.layout import DEFAULT_RUN

PATH = click.Path(path_type=Path)
SCALE = click.Choice(["4", "8"])
DEVICE = click.Choice(["auto", "cpu", "cuda"])

run_option = click.option("--run", type=PATH, default=DEFAULT_RUN, show_default=True, help="Run folder; holds whatever is not named otherwise.")
device_option = click.option("--device", type=DEVICE, default="auto", show_default=True, help="Where to compute; auto: the GPU where there is one.")
