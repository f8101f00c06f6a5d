"""`ntire-sr generate`."""

import shlex
from pathlib import Path

import click
from click.core import ParameterSource

from ntire_sr.challenge.names import DEFAULT_SAMPLES, MOST_SAMPLES
from ntire_sr.commands.command import Command, option, option_group
from ntire_sr.commands.options import PATH, SCALE, device_option, model_option, run_option
from ntire_sr.commands.output import Output, output_options
from ntire_sr.core.run_folder import RunFolder


@click.command(
    cls=Command,
    examples=(
        "ntire-sr generate --lr my_photos --samples 10 --out samples",
        "torchrun --nproc-per-node 4 -m -- ntire_sr generate --lr my_photos --out samples",
    ),
)
@option_group(
    "Images and samples",
    option("--lr", type=PATH, show_default="embedded validation photographs", help="Folder of LR images, or a single image."),
    option("--out", "-o", type=PATH, show_default="RUN/samples", help="Folder for the samples."),
    run_option,
    option("--samples", "-n", type=click.IntRange(min=1, max=MOST_SAMPLES), show_default=f"{DEFAULT_SAMPLES}, or with --only the folder's", help="Samples per LR image."),
    option("--names", type=click.Choice(["challenge", "input"]), default="challenge", help="Also give the samples the names of their LR images, such as photo_sample00000.png, in the folder OUT_named (input)."),
    option("--only", multiple=True, metavar="SAMPLE", show_default="all", help="Draw this sample again, such as 000003_sample00007; repeatable."),
    option("--overwrite", is_flag=True, help="Replace samples that were drawn with other settings; samples of the same settings are kept."),
)
@option_group(
    "Model",
    option("--weights", metavar="FILE|NAME", show_default="those of --run; without it runs/latest if finished, else the package's", help="Weights file, also of another program (RRDBNet; with spandrel many others); or stochastic for the package's weights, or bicubic for bicubic upsampling. With --model, any file that your network reads."),
    model_option,
    option("--scale", type=SCALE, show_default="the weights', or 4", help="HR pixels per LR pixel along an axis."),
    option("--seed", type=click.IntRange(min=0), default=0, help="Random seed. The seed of a sample is derived from it, the LR image and the sample's number."),
    option("--temperature", type=float, default=1.0, help="Factor of latents and noise; 1 is calibrated, less gives samples that differ less."),
)
@option_group(
    "Projection",
    option("--projection/--no-projection", default=True, help="Project every sample onto its LR image, or write the network's output as it is."),
    option("--allow-infeasible", is_flag=True, former="--allow-unreachable", help="Also write samples of LR images that no 8-bit HR image downscales to."),
)
@option_group(
    "Computing",
    device_option,
    option("--tile", metavar="auto|N|0", default="auto", help="Side of the tiles for large images, in LR pixels; 0 means no tiles. Tiles change no pixel by more than one grey level."),
    option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", help="Precision of the network; auto is that of samples that are in the folder, else bfloat16 where the GPU or processor computes it in hardware. The projection is always float32."),
)
@output_options
def generate(
    lr: Path | None, out: Path | None, run: Path, samples: int | None, names: str, only: tuple[str, ...], overwrite: bool,
    weights: str | None, model: str | None, scale: int | None, seed: int, temperature: float, projection: bool, allow_infeasible: bool,
    device: str, tile: str, precision: str, output: Output,
) -> None:
    """Draw samples of every LR image.

    Writes {index:06d}_sample{k:05d}.png and manifest.json. Existing samples are kept, so an interrupted call
    resumes when it is run again. torchrun distributes the images over processes and machines.
    """
    from ntire_sr.core.device import choose_device
    from ntire_sr.core.distributed import rank_and_world_size
    from ntire_sr.core.errors import condense, plural
    from ntire_sr.data.lr_images import write_validation
    from ntire_sr.models.loading import load_model
    from ntire_sr.sampling.default_weights import default_weights
    from ntire_sr.sampling.generate import Request, parse_only, parse_tile
    from ntire_sr.sampling.generate import generate as draw_samples
    from ntire_sr.training.status import run_state

    folder = RunFolder(run)
    torch_device = choose_device(device)
    if weights is None and model is None:
        run_is_default = click.get_current_context().get_parameter_source("run") is ParameterSource.DEFAULT
        state = run_state(folder) if run_is_default else "finished"
        model, weights, note = default_weights(folder, state)
        if note:
            output.note(note)
    loaded = load_model(model, scale, torch_device, weights=weights)
    request = Request(
        lr=lr or write_validation(folder, loaded.scale),
        out=out or folder.samples,
        samples=samples,
        seed=seed,
        projection=projection,
        allow_infeasible=allow_infeasible,
        overwrite=overwrite,
        only=parse_only(only),
        tile=parse_tile(tile),
        temperature=temperature,
        precision=precision,
    )
    drawn = draw_samples(request, loaded, torch_device, output.progress())
    settings = drawn.manifest.settings
    output.json({"out": str(request.out), "model": settings.model, "weights": str(loaded.weights) if loaded.weights else None, "weights_sha256": settings.weights_sha256, "scale": settings.scale, "seed": settings.seed, "temperature": settings.temperature, **drawn.as_json()})
    number, count = rank_and_world_size()
    by = f" by process {number + 1} of {count}" if count > 1 else ""
    output.say(f"{plural(drawn.written, 'sample')} written, {drawn.kept} kept{by}, in {request.out}")
    if count > 1 and not drawn.complete:
        output.say("other processes are still drawing; if one dies, run the same command again")
        return
    if drawn.manifest.samples > (request.samples or DEFAULT_SAMPLES) and not only:
        output.say(f"the folder was started with {drawn.manifest.samples} samples per image, and has all of them")
    output.say(f"drawn by {loaded.description}")
    output.say(f"worst LR-PSNR: {drawn.worst_db:.2f} dB" + ("" if request.projection else " (without projection)"))
    if names == "input":
        from ntire_sr.samples.named_copies import write_named_copies

        named = request.out.with_name(f"{request.out.resolve().name}_named")
        write_named_copies(drawn.manifest, request.out, named)
        output.say(f"under the names of the LR images: {named}")
    output.say(f"to look at them: ntire-sr view {shlex.quote(str(request.out))}")
    for text in condense(drawn.infeasible):
        output.note(f"no 8-bit image downscales to {text}; its samples are marked in the manifest")
