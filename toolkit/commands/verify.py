"""`ntire-sr verify`."""

import sys
from pathlib import Path
from typing import Any

import click

from ntire_sr.commands.command import Command
from ntire_sr.commands.options import PATH, SCALE, device_option, model_option
from ntire_sr.commands.output import Output, output_options
from ntire_sr.core.errors import plural, printable


@click.command(
    cls=Command,
    groups={
        "What belongs to the samples": ("lr", "manifest", "scale", "samples", "edition"),
        "Drawing again": ("regenerate", "weights", "model", "seed", "device"),
        "Output": ("json", "quiet"),
    },
    examples=("ntire-sr verify submission.zip --lr DIV2K_valid_LR --manifest samples/manifest.json --regenerate 3",),
)
@click.argument("paths", type=PATH, metavar="FILE...|DIR", nargs=-1, required=True)
@click.option("--lr", type=PATH, show_default="the manifest's", help="Folder of the LR images.")
@click.option("--samples", type=click.IntRange(min=1), show_default="the manifest's, or most images'", help="Samples per image.")
@click.option("--scale", type=SCALE, show_default="the manifest's, or the first sample's", help="HR pixels per LR pixel along an axis.")
@click.option("--edition", type=click.Choice(["ntire", "2021", "2022"]), show_default="any, with a note", help="Edition of the challenge whose numbers of images and samples are required.")
@click.option("--manifest", type=PATH, metavar="FILE|DIR", show_default="that of DIR, where it has one", help="The manifest.json that belongs to the samples, or its folder.")
@click.option("--regenerate", type=click.IntRange(min=0), default=0, show_default=True, help="Number of samples, chosen at random, to draw again and compare.")
@click.option("--weights", metavar="FILE|NAME", show_default="the manifest's", help="Weights to draw again with: a file, or the name of a model.")
@model_option
@click.option("--seed", type=click.IntRange(min=0), show_default="a new one", help="Random seed for choosing the samples of --regenerate.")
@device_option
@output_options
def verify(paths: tuple[Path, ...], device: str, scale: str | None, output: Output, **options: Any) -> None:
    """Check anyone's folder or zip of samples against the rules, or several zips that hold parts.

    Names, number, size, mode, readme.txt, LR-PSNR, equal samples, and members that would be unsafe to
    extract; nothing is extracted. Exit code 1 where something is wrong.
    """
    from ntire_sr.core.device import choose_device
    from ntire_sr.submission.check import describe_worst
    from ntire_sr.submission.verify import verify as check

    found = check(paths, device=choose_device(device), scale=int(scale) if scale else None, progress=output.progress(), **options)
    output.json(found.as_json())
    at = f", scale {found.scale}" if found.scale else ""
    output.say(f"{plural(found.samples, 'sample')} of {plural(found.images, 'image')}{at}, {describe_worst(found.worst_db)}")
    if found.seed is not None:
        output.say(f"{len(found.drawn_again)} drawn again and found the same (chosen with --seed {found.seed})")
    for text in found.notes:
        output.say(f"note: {printable(text)}")
    for text in found.problems:
        output.say(f"  - {printable(text)}")
    output.say("PASS" if found.passes else f"FAIL: {plural(len(found.problems), 'problem')}")
    if not found.passes:
        sys.exit(1)
