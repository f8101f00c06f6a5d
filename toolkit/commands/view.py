"""`ntire-sr view`."""

from pathlib import Path

import click

from ntire_sr.commands.command import Command, option, option_group
from ntire_sr.commands.options import PATH, run_option, samples_folder
from ntire_sr.commands.output import Output, output_options
from ntire_sr.core.run_folder import RunFolder, results_path


@click.command(cls=Command, examples=("ntire-sr view samples", "ntire-sr view samples --sheet sheet.png"))
@click.argument("samples", type=PATH, required=False, metavar="[SAMPLES]")
@option_group(
    "Images",
    option("--lr", type=PATH, show_default="the manifest's, if it is there", help="Folder of the LR images."),
    option("--hr", type=PATH, show_default="none", help="Folder of HR images, if there are any."),
    run_option,
)
@option_group(
    "Page",
    option("--out", "-o", type=PATH, show_default="SAMPLES_view.html, or RUN/view.html", help="File for the page."),
    option("--sheet", type=PATH, show_default="not written", help="File for a contact sheet as PNG, with a row per image."),
    option("--pictures", type=click.IntRange(min=1), default=20, help="Number of images to show, the first ones."),
)
@output_options
def view(samples: Path | None, lr: Path | None, hr: Path | None, run: Path, out: Path | None, sheet: Path | None, pictures: int, output: Output) -> None:
    """Make a page to look at samples; it needs no HR images.

    Shows samples, LR image, mean, standard deviation and each sample's difference to the mean under one zoom, lets
    the samples flicker, and lists the spread and the LR-PSNR of each image.
    """
    from ntire_sr.evaluation.pages.sample_page import list_viewed, write_sample_page
    from ntire_sr.evaluation.pages.sentences import describe_manifest
    from ntire_sr.samples.manifest import load_manifest

    folder = RunFolder(run)
    sr = samples_folder(samples, folder)
    manifest = load_manifest(sr)
    if lr is None and manifest and (sr / manifest.lr).exists():
        lr = sr / manifest.lr
    images = list_viewed(sr, lr, hr)
    page = out or results_path(sr, folder, folder.view, "_view.html")
    worst = write_sample_page(page, images, describe_manifest(manifest), pictures, sheet, output.progress())
    output.json({"out": str(page), "sheet": str(sheet) if sheet else None, "images": len(images), "worst_lr_psnr_db": worst})
    if lr is None:
        output.note("without --lr, LR images and LR-PSNR are not shown")
    output.say(f"page: {page}")
    if sheet:
        output.say(f"contact sheet: {sheet}")
