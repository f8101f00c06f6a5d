"""`ntire-sr data check` and `ntire-sr downscale`: preparing images."""

import sys
from pathlib import Path

import click

from ntire_sr.commands.command import Command, Group, option, option_group
from ntire_sr.commands.options import PATH, SCALE
from ntire_sr.commands.output import Output, output_options


@click.group(cls=Group)
def data() -> None:
    """Check training images before training."""


@data.command("check", cls=Command, examples=("ntire-sr data check --hr DIV2K_train_HR --validation DIV2K_valid_HR",))
@option_group(
    "Images",
    option("--hr", type=PATH, required=True, help="Folder of training images, searched with its subfolders."),
    option("--validation", type=PATH, show_default="embedded validation photographs", help="Folder of validation images, which must not be among the training images."),
    option("--patch", type=click.IntRange(min=16), default=64, help="Side of the training crops in HR pixels; images smaller than that are listed."),
)
@output_options
def data_check(hr: Path, validation: Path | None, patch: int, output: Output) -> None:
    """Check a folder of training images.

    Counts sizes; lists unreadable files, equal images, near-duplicates, images that are also in the validation
    set, and file names of DIV2K validation and test, which the challenge forbids. Exit code 1 if a file is
    broken or forbidden.
    """
    from ntire_sr.data.data_check import check, print_findings

    findings = check(hr, validation, patch, output.progress())
    output.json(findings.as_json())
    print_findings(findings, output.console())
    if not findings.passes:
        sys.exit(1)


@click.command(cls=Command, examples=("ntire-sr downscale --hr DIV2K_valid_HR --scale 4 --out DIV2K_valid_LR",))
@option_group(
    "Images",
    option("--hr", type=PATH, required=True, help="Folder of HR images."),
    option("--out", "-o", type=PATH, show_default="LRx4 or LRx8 next to the HR folder", help="Folder for the LR images."),
    option("--scale", type=SCALE, default=4, help="HR pixels per LR pixel along an axis."),
    option("--crop-multiple", type=click.IntRange(min=1), default=8, help="Crop HR sides to multiples of this first, as the challenge's script does; 1 keeps all pixels."),
)
@output_options
def downscale(hr: Path, out: Path | None, scale: int, crop_multiple: int, output: Output) -> None:
    """Make LR images from HR images with the challenge's bicubic."""
    from ntire_sr.core.errors import plural
    from ntire_sr.data.lr_images import make_lr

    target = out or hr.parent / f"LRx{scale}"
    count = make_lr(hr, target, scale, crop_multiple, output.progress())
    output.say(f"{plural(count, 'LR image')} in {target}")
    output.json({"out": str(target), "scale": scale, "images": count})
