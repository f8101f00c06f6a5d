"""`ntire-sr verify`."""

import sys
from pathlib import Path

import click

from ntire_sr.commands.command import Command, option, option_group
from ntire_sr.commands.options import PATH, SCALE, device_option, model_option
from ntire_sr.commands.output import Output, output_options
from ntire_sr.core.errors import condense, plural, printable


@click.command(cls=Command, examples=("ntire-sr verify submission.zip --lr DIV2K_valid_LR --manifest samples/manifest.json --regenerate 3",))
@click.argument("paths", type=PATH, metavar="FILE...|DIR", nargs=-1, required=True)
@option_group(
    "Samples and rules",
    option("--lr", type=PATH, show_default="the manifest's", help="Folder of the LR images."),
    option("--manifest", type=PATH, metavar="FILE|DIR", show_default="that of DIR, if it has one", help="The manifest.json that belongs to the samples, or its folder."),
    option("--scale", type=SCALE, show_default="the manifest's, or the first sample's", help="HR pixels per LR pixel along an axis."),
    option("--samples", "-n", type=click.IntRange(min=1), show_default="the manifest's, or most images'", help="Samples per image."),
    option("--edition", type=click.Choice(["ntire", "2021", "2022"]), show_default="any, with a note", help="Edition of the challenge whose numbers of images and samples are required."),
)
@option_group(
    "Drawing samples again",
    option("--regenerate", type=click.IntRange(min=0), default=0, help="Number of samples, chosen at random, to draw again and compare."),
    option("--weights", metavar="FILE|NAME", show_default="the manifest's", help="Weights to draw again with: a file, or the name of a model."),
    model_option,
    option("--seed", type=click.IntRange(min=0), show_default="a new one", help="Random seed for choosing the samples of --regenerate."),
    device_option,
)
@output_options
def verify(
    paths: tuple[Path, ...], lr: Path | None, manifest: Path | None, scale: int | None, samples: int | None, edition: str | None,
    regenerate: int, weights: str | None, model: str | None, seed: int | None, device: str, output: Output,
) -> None:
    """Check samples against the rules, in a folder or in archives.

    Several archives may hold parts of one submission. Checks names, number, size, mode, readme.txt and LR-PSNR,
    and finds equal samples and members that would be unsafe to extract; nothing is extracted. Exit code 1 if
    something is wrong.
    """
    from ntire_sr.core.device import choose_device
    from ntire_sr.submission.check import describe_worst
    from ntire_sr.submission.verify import verify as check

    result = check(
        paths,
        lr=lr,
        samples=samples,
        scale=scale,
        edition=edition,
        manifest=manifest,
        regenerate=regenerate,
        weights=weights,
        model=model,
        seed=seed,
        device=choose_device(device),
        progress=output.progress(),
    )
    output.json(result.as_json())
    at = f", scale {result.scale}" if result.scale else ""
    output.say(f"{plural(result.samples, 'sample')} of {plural(result.images, 'image')}{at}, {describe_worst(result.worst_db)}")
    if result.seed is not None:
        output.say(f"{len(result.drawn_again)} drawn again and found the same (chosen with --seed {result.seed})")
    for text in condense(result.notes):
        output.say(f"note: {printable(text)}")
    for text in condense(result.problems):
        output.say(f"  - {printable(text)}")
    output.say("PASS" if result.passes else f"FAIL: {plural(len(result.problems), 'problem')}")
    if not result.passes:
        sys.exit(1)
