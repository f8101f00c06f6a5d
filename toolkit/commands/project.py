"""`ntire-sr project`."""

from pathlib import Path

import click

from ntire_sr.commands.command import Command, option, option_group
from ntire_sr.commands.options import PATH, SCALE, device_option
from ntire_sr.commands.output import Output, output_options


@click.command(
    cls=Command,
    examples=("ntire-sr project --sr theirs --lr LR --out exact --names '{stem}_{sample}' --model-name SwinIR --seconds 1.5 --gpu",),
)
@option_group(
    "Images and samples",
    option("--sr", type=PATH, required=True, help="Folder of SR images: 8-bit PNG, JPEG or WebP."),
    option("--lr", type=PATH, required=True, help="Folder of the LR images that they were made from."),
    option("--out", "-o", type=PATH, required=True, help="Folder for the samples."),
    option("--names", metavar="PATTERN", show_default="the LR images' names, or the challenge's", help="How the SR images are named: {stem} stands for the LR image's name without its suffix, {sample} for the number of the sample; such as {stem}_{sample}, or {stem}/{sample} for a folder per LR image."),
    option("--scale", type=SCALE, show_default="that of the images", help="HR pixels per LR pixel along an axis."),
    option("--overwrite", is_flag=True, help="Replace samples that were made from other images or with other settings; the others are kept."),
    option("--allow-mismatch", is_flag=True, help="Also project images that look mirrored, turned, grey, of swapped channels or another range, or made from another LR image."),
    option("--allow-infeasible", is_flag=True, former="--allow-unreachable", help="Also write samples of LR images that no 8-bit HR image downscales to."),
)
@option_group(
    "The program that drew the images",
    option("--model-name", metavar="NAME", default="external", help="Name of the model that drew the images, for the manifest, readme.txt and the fact sheet."),
    option("--seconds", type=click.FloatRange(min=0), show_default="not stated", help="Run time per image of the program that drew them, for readme.txt."),
    option("--gpu/--cpu", "on_gpu", default=None, show_default="not stated", help="Device that this run time was measured on."),
)
@option_group(
    "Computing",
    device_option,
)
@output_options
def project(
    sr: Path, lr: Path, out: Path, names: str | None, scale: int | None, overwrite: bool,
    allow_mismatch: bool, allow_infeasible: bool,
    model_name: str, seconds: float | None, on_gpu: bool | None, device: str, output: Output,
) -> None:
    """Make another program's SR images LR-exact.

    Projects each image onto the images that downscale to its LR image, to 50 dB or more, and writes
    {index:06d}_sample{k:05d}.png and manifest.json, which score, package and verify read. All problems of
    the folders are listed before anything is written, also images that do not fit their LR images before the
    projection. Existing samples are kept, so an interrupted call
    resumes when it is run again. torchrun distributes the images over processes and machines.
    """
    from ntire_sr.challenge.downscale import REQUIRED_DB
    from ntire_sr.core.device import choose_device
    from ntire_sr.core.distributed import rank_and_world_size
    from ntire_sr.core.errors import condense, plural
    from ntire_sr.sampling import project as projecting

    request = projecting.ProjectRequest(
        sr=sr,
        lr=lr,
        out=out,
        names=names,
        scale=scale,
        model_name=model_name,
        seconds=seconds,
        on_gpu=on_gpu,
        allow_infeasible=allow_infeasible,
        allow_mismatch=allow_mismatch,
        overwrite=overwrite,
    )
    result = projecting.project_folder(request, choose_device(device), output.progress())
    output.json(projecting.as_json(result, request.out))
    number, count = rank_and_world_size()
    by = f" by process {number + 1} of {count}" if count > 1 else ""
    output.say(f"{plural(result.written, 'image')} projected, {result.kept} kept{by}, in {request.out}")
    if count > 1 and not result.complete:
        output.say("other processes are still projecting; if one dies, run the same command again")
        return
    both = projecting.before_and_after(result.manifest)
    if both:
        from rich.table import Table

        table = Table("LR-PSNR", "before", "after")
        for label, key in (("worst, dB", "worst_db"), ("median, dB", "median_db")):
            table.add_row(label, *(f"{getattr(side, key):.2f}" for side in both))
        table.add_row(f"samples under {REQUIRED_DB:.0f} dB", *(f"{side.under_required}" for side in both))
        output.console().print(table)
    for text in condense(result.infeasible):
        output.note(f"no 8-bit image downscales to {text}; its samples are marked in the manifest")
