"""`ntire-sr demo` and `ntire-sr doctor`: trying out an installation."""

from pathlib import Path

import click

from ntire_sr.commands.options import PATH, device_option, stdout_console


@click.command()
@click.option("--run", type=PATH, default=Path("runs/demo"), show_default=True, help="Run folder of the demonstration.")
@click.option("--max-minutes", type=click.FloatRange(min=0.05), default=2.0, show_default=True, help="Time limit of the training in minutes.")
@click.option("--steps", type=click.IntRange(min=1), default=100, show_default=True, help="Optimiser steps of the training.")
@click.option("--samples", type=click.IntRange(min=1), default=10, show_default=True, help="Samples per image.")
@device_option
def demo(run: Path, max_minutes: float, steps: int, samples: int, device: str) -> None:
    """Train, generate, score and package on the embedded photographs.

    Fine-tunes the weights that come with the package for a short time. Draws and scores with these as they are
    as well, into RUN/shipped. Needs no download. Goes on where an earlier call stopped.
    """
    from ntire_sr.commands.demonstration import demonstrate

    demonstrate(run, steps, max_minutes, samples, device, say=click.echo, console=stdout_console())


@click.command()
@click.option("--json", "as_json", is_flag=True, default=False, show_default=True, help="Print JSON instead of tables.")
def doctor(as_json: bool) -> None:
    """Show versions, devices, threads and pretrained files."""
    import json

    from ntire_sr.commands.machine import examine

    facts = examine()
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {value}")
