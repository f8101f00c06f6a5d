"""`ntire-sr package`."""

from pathlib import Path
from typing import Any

import click

from ntire_sr.commands.command import Command, option, option_group
from ntire_sr.commands.options import PATH, SCALE, run_option, samples_folder
from ntire_sr.commands.output import Output, output_options
from ntire_sr.core.errors import plural, printable
from ntire_sr.core.run_folder import RunFolder, results_path


@click.command(
    cls=Command,
    examples=(
        "ntire-sr package --run runs/mine --team team.json",
        "ntire-sr package --sr samples --lr DIV2K_valid_LR --seconds 1.5 --gpu --out theirs.zip",
    ),
)
@option_group(
    "Images and samples",
    option("--sr", type=PATH, show_default="RUN/samples", help="Folder of samples."),
    option("--lr", type=PATH, show_default="the manifest's", help="Folder of the LR images that they were drawn from."),
    run_option,
    option("--scale", type=SCALE, show_default="the manifest's, or the first sample's", help="HR pixels per LR pixel along an axis."),
    option("--samples", "-n", type=click.IntRange(min=1), show_default="the manifest's, or 10", help="Samples per image."),
)
@option_group(
    "Archive",
    option("--out", "-o", type=PATH, show_default="RUN/submission.zip, or SR_submission.zip next to samples that are not the run's", help="Path of the archive. Fact sheet and code are written to a second one next to it, named -code.zip."),
    option("--edition", type=click.Choice(["ntire", "2021", "2022"]), default="ntire", help="Edition of the challenge whose rules apply; 2021 and 2022 require 100 images with 10 samples, 2021 without readme.txt."),
    option("--max-size", metavar="SIZE", show_default="1GB for CodaLab", help="Warn if an archive is larger than this, such as 900MB."),
    option("--split", is_flag=True, help="Write several archives of at most --max-size: images in order, all samples of an image together."),
    option("--code/--no-code", default=True, help="Also write the archive with fact sheet (Markdown, LaTeX), manifest, weights and code."),
)
@option_group(
    "readme.txt and fact sheet",
    option("--seconds", type=click.FloatRange(min=0), show_default="measured by generate", help="Run time per image for readme.txt."),
    option("--gpu/--cpu", "on_gpu", default=None, show_default="the manifest's", help="Device that the run time in readme.txt was measured on."),
    option("--extra-data/--no-extra-data", default=True, help="Whether readme.txt says that training used data other than the challenge's."),
    option("--description", default="", show_default="the model's name", help="Description of the method in readme.txt."),
    option("--score", type=PATH, show_default="RUN/score, SR_score or score", help="Folder of the score of these samples, for the fact sheet. A score in the default places is used only if it is of exactly these samples."),
    option("--team", type=PATH, show_default="marked blanks", help="JSON file with facts that only the team knows, for the fact sheet."),
)
@output_options
def package(
    sr: Path | None, lr: Path | None, run: Path, scale: int | None, samples: int | None, out: Path | None, edition: str,
    max_size: str | None, split: bool, code: bool, seconds: float | None, on_gpu: bool | None, extra_data: bool,
    description: str, score: Path | None, team: Path | None, output: Output,
) -> dict[str, Any]:
    """Check all samples and zip them for the upload.

    Lists all problems at once, and writes nothing if there is one.
    """
    from ntire_sr.challenge.editions import parse_size
    from ntire_sr.submission.check import describe_worst
    from ntire_sr.submission.package import PackageRequest, pack

    folder = RunFolder(run)
    sr = samples_folder(sr, folder)
    request = PackageRequest(
        sr=sr,
        out=out or results_path(sr, folder, folder.archive, "_submission.zip"),
        lr=lr,
        samples=samples,
        scale=scale,
        edition=edition,
        seconds=seconds,
        on_gpu=on_gpu,
        extra_data=extra_data,
        description=description,
        max_size=parse_size(max_size) if max_size else None,
        split=split,
        code=code,
        team=team,
        score=score,
        run=folder.path,
    )
    packed = pack(request, output.progress())
    result = output.json(packed.as_json())
    output.say(f"{plural(packed.files, 'sample')}, {describe_worst(packed.worst_db)}, {packed.bytes / 1e6:.1f} MB")
    for path, digest in packed.archives:
        output.say(f"archive: {path}")
        output.say(f"sha256: {digest}")
    if packed.code:
        output.say(f"fact sheet and code: {packed.code[0]}")
        output.say(f"sha256: {packed.code[1]}")
    if packed.blanks:
        output.say(f"left blank in the fact sheet for the team: {', '.join(packed.blanks)}")
    for text in packed.warnings:
        output.note(f"warning: {printable(text)}")
    return result
