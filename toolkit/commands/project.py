"""`ntire-sr project`."""

from typing import Any

import click

from ntire_sr.commands.command import Command
from ntire_sr.commands.options import PATH, SCALE, device_option
from ntire_sr.commands.output import Output, output_options


@click.command(
    cls=Command,
    groups={
        "Images and samples": ("sr", "lr", "out", "names", "scale", "overwrite", "allow-unreachable"),
        "What is stated about the program that drew them": ("model-name", "seconds", "gpu"),
        "Computing": ("device",),
        "Output": ("json", "quiet"),
    },
    examples=("ntire-sr project --sr theirs --lr LR --out exact --names '{stem}_{sample}' --model-name SwinIR --seconds 1.5 --gpu",),
)
@click.option("--sr", type=PATH, required=True, help="Folder of SR images: 8-bit PNG, JPEG or WebP.")
@click.option("--lr", type=PATH, required=True, help="Folder of the LR images that they were made from.")
@click.option("--out", type=PATH, required=True, help="Folder for the samples.")
@click.option("--names", metavar="PATTERN", show_default="the LR images' names, or the challenge's", help="How the SR images are named: {stem} stands for the LR image's name without its suffix, {sample} for the number of the sample; such as {stem}_{sample}, or {stem}/{sample} for a folder per LR image.")
@click.option("--scale", type=SCALE, show_default="that of the images", help="HR pixels per LR pixel along an axis.")
@click.option("--model-name", metavar="NAME", default="external", show_default=True, help="Name of the model that drew the images, for the manifest, readme.txt and the fact sheet.")
@click.option("--seconds", type=click.FloatRange(min=0), show_default="not stated", help="Run time per image of the program that drew them, for readme.txt.")
@click.option("--gpu/--cpu", "on_gpu", default=None, show_default="not stated", help="Device that this run time was measured on.")
@click.option("--allow-unreachable", is_flag=True, default=False, show_default=True, help="Also write samples of LR images that no 8-bit HR image reduces to.")
@click.option("--overwrite", is_flag=True, default=False, show_default=True, help="Replace samples that were made from other images or with other settings; the others are kept.")
@device_option
@output_options
def project(device: str, scale: str | None, output: Output, **options: Any) -> None:
    """Make another program's SR images LR-exact.

    Projects each image onto those that reduce to its LR image, to 50 dB or more, and writes
    {index:06d}_sample{k:05d}.png and manifest.json, which score, package and verify take. All problems of
    the folders are listed before anything is written. Samples that are there already are kept, so an
    interrupted call goes on. torchrun spreads the images over processes and machines.
    """
    from ntire_sr.challenge.downscale import REQUIRED_DB
    from ntire_sr.core.device import choose_device
    from ntire_sr.core.distributed import rank_and_world_size
    from ntire_sr.sampling import project as projecting

    request = projecting.ProjectRequest(scale=int(scale) if scale else None, **options)
    filled = projecting.project_folder(request, choose_device(device), output.progress())
    output.json(projecting.as_json(filled, request.out))
    number, count = rank_and_world_size()
    by = f" by process {number + 1} of {count}" if count > 1 else ""
    output.say(f"{filled.written} images projected, {filled.kept} kept{by}, in {request.out}")
    if count > 1 and not filled.complete:
        output.say("other processes have not projected theirs yet; should they die, the same command goes on")
        return
    both = projecting.before_and_after(filled.manifest)
    if both:
        from rich.table import Table

        table = Table("LR-PSNR", "before", "after")
        for label, key in (("worst, dB", "worst_db"), ("median, dB", "median_db")):
            table.add_row(label, *(f"{getattr(side, key):.2f}" for side in both))
        table.add_row(f"samples under {REQUIRED_DB:.0f} dB", *(f"{side.under_required}" for side in both))
        output.console().print(table)
    for text in filled.unreachable:
        output.note(f"no 8-bit image reduces to {text}; its samples are marked in the manifest")
