"""`ntire-sr demo`: train, generate, score and package in sequence, on the embedded photographs."""

import io
import time
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

import click

from ntire_sr.commands.command import Command, option, option_group
from ntire_sr.commands.generate import generate
from ntire_sr.commands.options import PATH, SCALE, device_option
from ntire_sr.commands.output import Output, output_options
from ntire_sr.commands.package import package
from ntire_sr.commands.score import score
from ntire_sr.commands.train import train
from ntire_sr.core.run_folder import RunFolder

# In so few steps on four photographs a discriminator does not learn to judge, and larger steps only degrade the weights.
GENTLE = ("learning_rate=2e-5", "adversarial=0")


@click.command(cls=Command, examples=("ntire-sr demo --max-minutes 2 --samples 4",))
@option_group(
    "Run",
    option("--run", type=PATH, default=Path("runs/demo"), help="Run folder of the demonstration."),
    option("--scale", type=SCALE, default=4, help="HR pixels per LR pixel along an axis."),
    option("--max-minutes", type=click.FloatRange(min=0.05), default=2.0, help="Time limit of the training in minutes."),
    option("--steps", type=click.IntRange(min=1), default=100, help="Optimiser steps of the training."),
    option("--samples", "-n", type=click.IntRange(min=1), default=10, help="Samples per image."),
)
@option_group("Computing", device_option)
@output_options
@click.pass_context
def demo(
    context: click.Context, run: Path, scale: int, max_minutes: float, steps: int, samples: int, device: str, output: Output,
) -> None:
    """Run train, generate, score and package on embedded images.

    Fine-tunes the weights that come with the package for a short time. For comparison it also draws and scores
    with the unchanged weights, in RUN/shipped. Needs no download. An interrupted demo resumes when it is run
    again.
    """
    from ntire_sr.core.errors import NtireSrError
    from ntire_sr.models.registry import SHIPPED_MODEL

    start = time.monotonic()
    folder, shipped = RunFolder(run), RunFolder(run / "shipped")

    # with --json the results of the four commands are part of that of the demonstration
    with redirect_stdout(io.StringIO()) if output.as_json else nullcontext():
        output.say("1/4 train")
        context.invoke(
            train, run=run, resume=True, steps=steps, max_minutes=max_minutes, scale=scale, device=device,
            words=() if folder.config.exists() else GENTLE, quiet=output.quiet,
        )  # fmt: skip

        output.say(f"\n2/4 generate --samples {samples}, with the weights that were trained here")
        # --overwrite replaces only samples of other weights, as after a longer training
        context.invoke(generate, run=run, samples=samples, overwrite=True, device=device, quiet=output.quiet)
        output.say("\nand with the weights that come with the package")
        context.invoke(
            generate, lr=folder.validation_lr(scale), run=shipped.path, weights=SHIPPED_MODEL, scale=scale, samples=samples,
            overwrite=True, device=device, quiet=output.quiet,
        )  # fmt: skip

        summaries = {}
        for place, weights in ((folder, "were trained here"), (shipped, "come with the package")):
            output.say(f"\n3/4 score: the weights that {weights}")
            result = context.invoke(
                score, hr=folder.validation_hr, run=place.path, device=device, quiet=output.quiet
            )
            summaries[place] = result["summary"]

        output.say("\n4/4 package")
        packed = context.invoke(package, run=run, quiet=output.quiet)

    seconds = time.monotonic() - start
    output.say(f"took {seconds:.0f} s")
    if not all(summary["passes"] for summary in summaries.values()):
        raise NtireSrError("a sample of the demonstration is under 45 dB", "report this as a defect, with the manifest")
    output.json(
        {
            "run": str(run),
            "weights": str(folder.weights),
            "scores": [{"samples": str(place.samples), "out": str(place.score), "summary": summary} for place, summary in summaries.items()],
            "package": packed,
            "seconds": seconds,
        }
    )
