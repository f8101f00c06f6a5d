"""`ntire-sr package`."""

from pathlib import Path
from typing import Any

import click

from ntire_sr.commands.command import Command
from ntire_sr.commands.options import PATH, SCALE, run_option, samples_folder
from ntire_sr.commands.output import Output, output_options
from ntire_sr.core.errors import plural, printable
from ntire_sr.core.run_folder import RunFolder, results_path


@click.command(
    cls=Command,
    groups={
        "Images and samples": ("sr", "lr", "run", "scale", "samples"),
        "Archive": ("out", "edition", "max-size", "split", "code"),
        "readme.txt and fact sheet": ("seconds", "gpu", "extra-data", "description", "team"),
        "Output": ("json", "quiet"),
    },
    examples=(
        "ntire-sr package --run runs/mine --team team.json",
        "ntire-sr package --sr samples --lr DIV2K_valid_LR --seconds 1.5 --gpu --out theirs.zip",
    ),
)
@click.option("--sr", type=PATH, show_default="RUN/samples", help="Folder of samples.")
@click.option("--lr", type=PATH, show_default="the manifest's", help="Folder of the LR images that they were drawn from.")
@click.option("--samples", type=click.IntRange(min=1), show_default="the manifest's, or 10", help="Samples per image.")
@click.option("--scale", type=SCALE, show_default="the manifest's, or the first sample's", help="HR pixels per LR pixel along an axis.")
@click.option("--out", type=PATH, show_default="RUN/submission.zip, or SR_submission.zip beside samples that are not the run's", help="Path of the archive; fact sheet and code go into a second one beside it, named -code.zip.")
@run_option
@click.option("--edition", type=click.Choice(["ntire", "2021", "2022"]), default="ntire", show_default=True, help="Edition of the challenge whose rules apply; 2021 and 2022 ask for 100 images of 10 samples, 2021 without readme.txt.")
@click.option("--seconds", type=click.FloatRange(min=0), show_default="measured by generate", help="Run time per image for readme.txt.")
@click.option("--gpu/--cpu", "on_gpu", default=None, show_default="the manifest's", help="Device that the run time in readme.txt was measured on.")
@click.option("--extra-data/--no-extra-data", default=True, show_default=True, help="Whether readme.txt says that training used data other than the challenge's.")
@click.option("--description", default="", show_default="the model's name", help="Description of the method in readme.txt.")
@click.option("--max-size", metavar="SIZE", show_default="1GB for CodaLab", help="Warn if an archive is larger than this, such as 900MB.")
@click.option("--split", is_flag=True, default=False, show_default=True, help="Write several archives of at most --max-size: images in order, all samples of an image together.")
@click.option("--team", type=PATH, show_default="marked blanks", help="JSON file with what only the team knows, for the fact sheet.")
@click.option("--code/--no-code", default=True, show_default=True, help="Also write the archive with fact sheet (Markdown, LaTeX), manifest, weights and code.")
@output_options
def package(sr: Path | None, out: Path | None, run: Path, scale: str | None, max_size: str | None, output: Output, **options: Any) -> None:
    """Check all samples and zip them for the upload.

    Lists all problems at once, and writes nothing while there is any.
    """
    from ntire_sr.challenge.editions import parse_size
    from ntire_sr.submission.check import describe_worst
    from ntire_sr.submission.package import PackageRequest, pack

    folder = RunFolder(run)
    samples = samples_folder(sr, folder)
    request = PackageRequest(
        samples, out or results_path(samples, folder, folder.archive, "_submission.zip"), scale=int(scale) if scale else None,
        max_size=parse_size(max_size) if max_size else None, run=folder.path, **options,
    )  # fmt: skip
    packed = pack(request, output.progress())
    output.json(packed.as_json())
    output.say(f"{plural(packed.files, 'sample')}, {describe_worst(packed.worst_db)}, {packed.bytes / 1e6:.1f} MB")
    for path, digest in packed.archives:
        output.say(f"archive: {path}")
        output.say(f"sha256: {digest}")
    if packed.code:
        output.say(f"fact sheet and code: {packed.code[0]}")
        output.say(f"sha256: {packed.code[1]}")
    if packed.blanks:
        output.say(f"left blank in the fact sheet, for the team: {', '.join(packed.blanks)}")
    for text in packed.warnings:
        output.note(f"warning: {printable(text)}")
