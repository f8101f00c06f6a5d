"""`ntire-sr demo` and `ntire-sr doctor`: trying out an installation."""

from pathlib import Path

import click

from ntire_sr.commands.command import Command
from ntire_sr.commands.options import PATH, SCALE, device_option
from ntire_sr.commands.output import Output, output_options


@click.command(
    cls=Command,
    groups={
        "What is done": ("run", "scale", "max-minutes", "steps", "samples"),
        "Computing": ("device",),
        "Output": ("json", "quiet"),
    },
    examples=("ntire-sr demo --max-minutes 2 --samples 4",),
)
@click.option("--run", type=PATH, default=Path("runs/demo"), show_default=True, help="Run folder of the demonstration.")
@click.option("--max-minutes", type=click.FloatRange(min=0.05), default=2.0, show_default=True, help="Time limit of the training in minutes.")
@click.option("--steps", type=click.IntRange(min=1), default=100, show_default=True, help="Optimiser steps of the training.")
@click.option("--samples", type=click.IntRange(min=1), default=10, show_default=True, help="Samples per image.")
@click.option("--scale", type=SCALE, default="4", show_default=True, help="HR pixels per LR pixel along an axis.")
@device_option
@output_options
def demo(run: Path, max_minutes: float, steps: int, samples: int, scale: str, device: str, output: Output) -> None:
    """Train, generate, score and package on the embedded photographs.

    Fine-tunes the weights that come with the package for a short time. Draws and scores with these as they are
    as well, into RUN/shipped. Needs no download. Goes on where an earlier call stopped.
    """
    from ntire_sr.commands.demonstration import demonstrate

    output.json(demonstrate(run, steps, max_minutes, samples, int(scale), device, output.say, output.console(), output.progress()))


@click.command(
    cls=Command,
    groups={"Output": ("json", "quiet")},
    examples=("ntire-sr doctor",),
)
@output_options
def doctor(output: Output) -> None:
    """Show versions, devices, threads and pretrained files."""
    from ntire_sr.commands.doctor import examine

    facts = examine()
    output.json(facts)
    width = max(map(len, facts))
    for name, value in facts.items():
        output.say(f"{name:<{width}}  {value}")
