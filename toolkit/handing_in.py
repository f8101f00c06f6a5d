"""The commands that hand samples in and check what others did, see `cli`."""

import sys
from pathlib import Path
from typing import Any

import click

from ntire_sr.errors import plural, printable
from ntire_sr.layout import RunFolder
from ntire_sr.options import PATH, SCALE, device_option, run_option


@click.command()
@click.option("--sr", type=PATH, show_default="RUN/samples", help="Folder of samples.")
@click.option("--lr", type=PATH, show_default="the manifest's", help="Folder of the LR images that they were drawn from.")
@click.option("--samples", type=click.IntRange(min=1), show_default="the manifest's, or 10", help="Samples per image.")
@click.option("--out", type=PATH, show_default="RUN/submission.zip", help="The archive; the one with fact sheet and code stands beside it, named -code.zip.")
@run_option
@click.option("--edition", type=click.Choice(["ntire", "2021", "2022"]), default="ntire", show_default=True, help="What is asked for; 2021 and 2022: 100 images of 10 samples, 2021 without readme.txt.")
@click.option("--seconds", type=click.FloatRange(min=0), show_default="measured by generate", help="Run time per image for readme.txt.")
@click.option("--gpu/--cpu", "on_gpu", default=None, show_default="the manifest's", help="For readme.txt: what the run time was measured on.")
@click.option("--extra-data/--no-extra-data", default=True, show_default=True, help="For readme.txt: whether training saw other data than the challenge's.")
@click.option("--description", default="", show_default="the model's name", help="For readme.txt.")
@click.option("--max-size", metavar="SIZE", show_default="1GB for CodaLab", help="Warn of larger archives, such as 900MB.")
@click.option("--split", is_flag=True, default=False, show_default=True, help="Write several archives of at most --max-size: images in order, all samples of an image together.")
@click.option("--team", type=PATH, show_default="marked blanks", help="JSON file with what only the team knows, for the fact sheet.")
@click.option("--code/--no-code", default=True, show_default=True, help="Also write the archive with fact sheet (Markdown, LaTeX), manifest, weights and code.")
def package(sr: Path | None, out: Path | None, run: Path, max_size: str | None, **options: Any) -> None:
    """Check all samples and zip them for the upload.

    Lists all problems at once, and writes nothing while there is any.
    """
    from ntire_sr.progress import Bar
    from ntire_sr.submission.check import worst_in_words
    from ntire_sr.submission.editions import parse_size
    from ntire_sr.submission.session import PackRequest, pack

    folder = RunFolder(run)
    request = PackRequest(sr or folder.samples, out or folder.archive, max_size=parse_size(max_size) if max_size else None, run=folder.path, **options)
    with Bar("check") as done:
        packed = pack(request, done)
    click.echo(f"{plural(packed.files, 'sample')}, {worst_in_words(packed.worst_db)}, {packed.bytes / 1e6:.1f} MB")
    for path, digest in packed.archives:
        click.echo(f"archive: {path}")
        click.echo(f"sha256: {digest}")
    if packed.code:
        click.echo(f"fact sheet and code: {packed.code[0]}")
        click.echo(f"sha256: {packed.code[1]}")
    if packed.blanks:
        click.echo(f"left blank in the fact sheet, for the team: {', '.join(packed.blanks)}")
    for text in packed.warnings:
        click.echo(f"warning: {text}", err=True)


@click.command()
@click.argument("paths", type=PATH, metavar="FILE...|DIR", nargs=-1, required=True)
@click.option("--lr", type=PATH, show_default="the manifest's", help="Folder of the LR images.")
@click.option("--samples", type=click.IntRange(min=1), show_default="the manifest's, or most images'", help="Samples per image.")
@click.option("--scale", type=SCALE, show_default="the manifest's, or the first sample's", help="HR pixels per LR pixel along an axis.")
@click.option("--edition", type=click.Choice(["ntire", "2021", "2022"]), show_default="any, with a note", help="Whose numbers of images and samples must be met.")
@click.option("--manifest", "manifest_of", type=PATH, show_default="DIR, where it has one", help="Folder whose manifest.json belongs to the samples.")
@click.option("--regenerate", type=click.IntRange(min=0), default=0, show_default=True, help="Draw so many samples again, chosen at random, and compare.")
@click.option("--weights", metavar="FILE|NAME", show_default="the manifest's", help="For --regenerate.")
@click.option("--seed", type=click.IntRange(min=0), show_default="a new one", help="Of the choice of --regenerate.")
@device_option
@click.option("--json", "as_json", is_flag=True, default=False, show_default=True, help="Print JSON.")
def verify(paths: tuple[Path, ...], device: str, scale: str | None, as_json: bool, **options: Any) -> None:
    """Check anyone's folder or zip of samples against the rules, or several zips that hold parts.

    Names, number, size, mode, readme.txt, LR-PSNR, equal samples, and members that would be unsafe to
    extract; nothing is extracted. Exit code 1 where something is wrong.
    """
    import json

    from ntire_sr.device import choose_device
    from ntire_sr.files import finite
    from ntire_sr.progress import Bar
    from ntire_sr.submission.check import worst_in_words
    from ntire_sr.submission.verify import verify as check

    with Bar("verify") as done:
        found = check(paths, device=choose_device(device), scale=int(scale) if scale else None, done=done, **options)
    if as_json:
        click.echo(json.dumps(finite(found.as_json()), indent=1))
    else:
        at = f", scale {found.scale}" if found.scale else ""
        click.echo(f"{plural(found.samples, 'sample')} of {plural(found.images, 'image')}{at}, {worst_in_words(found.worst_db)}")
        if found.seed is not None:
            click.echo(f"{len(found.drawn_again)} drawn again and found the same (chosen with --seed {found.seed})")
        for text in found.notes:
            click.echo(f"note: {printable(text)}")
        for text in found.problems:
            click.echo(f"  - {printable(text)}")
        click.echo("PASS" if found.passes else f"FAIL: {plural(len(found.problems), 'problem')}")
    if not found.passes:
        sys.exit(1)
