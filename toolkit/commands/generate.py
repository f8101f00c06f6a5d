"""`ntire-sr generate`."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ntire_sr.challenge.names import DEFAULT_SAMPLES, MOST_SAMPLES
from ntire_sr.commands.command import Command
from ntire_sr.commands.options import PATH, SCALE, device_option, model_option, run_option
from ntire_sr.commands.output import Output, output_options
from ntire_sr.core.run_folder import RunFolder


@click.command(
    cls=Command,
    groups={
        "Images and samples": ("lr", "out", "run", "samples", "only", "overwrite"),
        "Model": ("weights", "model", "scale", "seed"),
        "Projection": ("projection", "allow-unreachable"),
        "Computing": ("device", "tile", "precision"),
        "Output": ("json", "quiet"),
    },
    examples=(
        "ntire-sr generate --lr my_photos --samples 10 --out samples",
        "torchrun --nproc-per-node 4 -m -- ntire_sr generate --lr my_photos --out samples",
    ),
)
@click.option("--lr", type=PATH, show_default="embedded validation photographs", help="Folder of LR images.")
@click.option("--out", type=PATH, show_default="RUN/samples", help="Folder for the samples.")
@click.option("--samples", type=click.IntRange(min=1, max=MOST_SAMPLES), show_default=f"{DEFAULT_SAMPLES}, or with --only as many as there are", help="Samples per LR image.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed; each sample's own seed is derived from it, the LR image and the sample's number.")
@click.option("--weights", metavar="FILE|NAME", show_default="those of --run; without it runs/latest if finished, else the package's", help="Weights file; or stochastic for the package's weights, or bicubic for bicubic enlargement. With a network of --model, any file that it reads.")
@model_option
@click.option("--scale", type=SCALE, show_default="the weights', or 4", help="HR pixels per LR pixel along an axis.")
@device_option
@run_option
@click.option("--only", multiple=True, metavar="SAMPLE", show_default="all", help="Draw this sample again, such as 000003_sample00007; repeatable.")
@click.option("--tile", metavar="auto|N|0", default="auto", show_default=True, help="Side of the tiles that large images are drawn in, in LR pixels; 0 means no tiles. No tile size changes a sample by more than a grey level.")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True, help="Precision of the network; auto uses bfloat16 on GPUs that support it. The projection is always float32.")
@click.option("--projection/--no-projection", default=True, show_default=True, help="Project every sample onto its LR image, or write the network's output as it is.")
@click.option("--allow-unreachable", is_flag=True, default=False, show_default=True, help="Also write samples of LR images that no 8-bit HR image reduces to.")
@click.option("--overwrite", is_flag=True, default=False, show_default=True, help="Replace samples that were drawn with other settings; samples of the same settings are kept.")
@output_options
def generate(lr: Path | None, out: Path | None, weights: str | None, model: str | None, scale: str | None, device: str, run: Path, only: tuple[str, ...], tile: str, output: Output, **options: Any) -> None:
    """Draw samples of every LR image.

    Writes {index:06d}_sample{k:05d}.png and manifest.json. Samples that are there already are kept, so an
    interrupted call goes on. torchrun spreads the images over processes and machines.
    """
    from ntire_sr.core.device import choose_device
    from ntire_sr.core.distributed import rank_and_world_size
    from ntire_sr.data.lr_images import write_validation
    from ntire_sr.models.registry import SHIPPED_MODEL, load_model
    from ntire_sr.sampling.default_weights import default_weights
    from ntire_sr.sampling.generate import Request, parse_only, parse_tile
    from ntire_sr.sampling.generate import generate as draw_samples
    from ntire_sr.training.status import run_state

    folder = RunFolder(run)
    chosen = choose_device(device)
    if weights is None and model is None:
        bare = click.get_current_context().get_parameter_source("run") is ParameterSource.DEFAULT
        state = run_state(folder) if bare else "finished"
        weights, note = default_weights(folder, state)
        if note:
            output.note(note)
    loaded = load_model(model, weights, int(scale) if scale else None, chosen)
    request = Request(lr or write_validation(folder, loaded.scale), out or folder.samples, only=parse_only(only), tile=parse_tile(tile), **options)
    drawn = draw_samples(request, loaded, chosen, output.progress())
    described = loaded.name
    if loaded.weights:
        where = "that come with the package: " if (weights or model) == SHIPPED_MODEL else ""
        steps = "" if loaded.code else f", {loaded.facts.get('step', '?')} steps"
        described += f", weights {where}{loaded.weights} ({(loaded.weights_sha256 or '')[:12]}{steps})"
    settings = drawn.manifest.settings
    output.json({"out": str(request.out), "model": settings.model, "weights": str(loaded.weights) if loaded.weights else None, "weights_sha256": settings.weights_sha256, "scale": settings.scale, "seed": settings.seed, **drawn.as_json()})
    number, count = rank_and_world_size()
    by = f" by process {number + 1} of {count}" if count > 1 else ""
    output.say(f"{drawn.written} samples written, {drawn.kept} kept{by}, in {request.out}")
    if count > 1 and not drawn.complete:
        output.say("other processes have not drawn theirs yet; should they die, the same command goes on")
        return
    if drawn.manifest.samples > (request.samples or DEFAULT_SAMPLES) and not only:
        output.say(f"the folder was begun with {drawn.manifest.samples} samples per image, and has them all")
    output.say(f"drawn by {described}")
    output.say(f"worst LR-PSNR: {drawn.worst_db:.2f} dB" + ("" if request.projection else " (without projection)"))
    for text in drawn.unreachable:
        output.note(f"no 8-bit image reduces to {text}; its samples are marked in the manifest")
