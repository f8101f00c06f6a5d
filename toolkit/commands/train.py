"""`ntire-sr train`."""

from pathlib import Path
from typing import Any

import click

from ntire_sr.commands.command import Command, option, option_group
from ntire_sr.commands.options import DEVICE, PATH, SCALE, run_option
from ntire_sr.commands.output import Output, output_options
from ntire_sr.core.run_folder import RunFolder


@click.command(
    cls=Command,
    examples=(
        "ntire-sr train --model stochastic --hr DIV2K_train_HR --run runs/mine --set preset=small",
        "ntire-sr train --config runs/mine/config.json --seed 1 --run runs/again",
        "ntire-sr train --model my_net.py:build --hr DIV2K_train_HR --run runs/net",
    ),
)
@option_group(
    "Images",
    option("--hr", type=PATH, show_default="embedded photographs", help="Folder of HR images, searched with its subfolders."),
    option("--scale", type=SCALE, show_default="4", help="HR pixels per LR pixel along an axis."),
)
@option_group(
    "Run",
    run_option,
    option("--resume", is_flag=True, help="Continue from the last checkpoint, or start if there is none."),
    option("--max-minutes", type=click.FloatRange(min=0), show_default="30 (the preset's)", help="Stop with a checkpoint after this many minutes; 0 means no limit."),
    option("--dry-run", is_flag=True, help="Print the whole configuration as JSON and stop."),
)
@option_group(
    "Settings",
    option("--model", metavar="NAME", show_default="stochastic", help="Model to train: stochastic, srgan, or your own network, such as my_net.py:build, whose code is then run."),
    option("--steps", type=click.IntRange(min=1), show_default="1000 (the preset's)", help="Total number of optimiser steps."),
    option("--seed", type=click.IntRange(min=0), show_default="0", help="Random seed for the initial weights, the crops and the noise."),
    option("--config", type=PATH, show_default="none", help="JSON file of settings, such as the config.json of another run; options and --set replace its values."),
    option("--set", "words", multiple=True, metavar="KEY=VALUE", show_default="none", help="Set any other setting, such as preset=small, checkpoint_every=50 or gamma=0.3; repeatable. --dry-run lists them all."),
)
@option_group(
    "Computing",
    option("--device", type=DEVICE, show_default="auto", help="Device to compute on; auto uses a GPU if there is one."),
)
@output_options
def train(
    hr: Path | None, scale: int | None, run: Path, resume: bool, max_minutes: float | None, dry_run: bool, model: str | None,
    steps: int | None, seed: int | None, config: Path | None, words: tuple[str, ...], device: str | None, output: Output,
) -> None:
    """Train a generator.

    By default it fine-tunes the pretrained weights shipped with the package; --set start_from=none trains from
    scratch. Writes weights.safetensors, config.json, log.jsonl, checkpoints and at each validation training.html, a
    page with the losses, the validation figures and the previews, into the run folder.
    """
    import json

    from ntire_sr.core.errors import plural, require
    from ntire_sr.core.settings import parse_words
    from ntire_sr.evaluation.pages.training_page import write_training_page
    from ntire_sr.training.loop import train as run_training
    from ntire_sr.training.run_config import check_files, make_run_config, read_settings, resume_run_config
    from ntire_sr.training.status import is_finished, saved_steps

    values: dict[str, Any] = dict(parse_words(words))
    options = {
        "hr": str(hr) if hr else None, "scale": scale, "max_minutes": max_minutes, "model": model, "steps": steps, "seed": seed, "device": device,
    }  # fmt: skip
    for name, value in options.items():
        if value is not None:
            require(name not in values, f"{name} is given twice, by --set and by --{name.replace('_', '-')}", "give it once")
            values[name] = value
    if config is not None:
        values = read_settings(config, values)
    folder = RunFolder(run)
    resumed = resume and folder.config.exists()
    run_config = resume_run_config(folder, values) if resumed else make_run_config(values)
    if not resumed:
        check_files(run_config)
    if dry_run:
        click.echo(json.dumps(run_config.as_json(), indent=1))
        return
    total = run_config.config.steps
    if resumed and is_finished(folder, total):
        done = saved_steps(folder.checkpoints)[0][0]
        output.say(f"{run} is finished: {done} steps, weights in {folder.weights}")
        output.json({"run": str(run), "weights": str(folder.weights), "steps": total, "steps_done": done, "stop_reason": "finished"})
        return
    result = run_training(run_config, folder, resume, output.progress(), write_training_page)
    if result is None:  # one of torchrun's other processes
        return
    output.json({"run": str(run), "weights": str(result.weights), "steps": result.steps, "steps_done": result.steps_done, "stop_reason": result.stop_reason, "skipped": result.skipped, "rollbacks": result.rollbacks})
    exploded = f" ({result.skipped} skipped, since they exploded, with {plural(result.rollbacks, 'rollback')})" if result.skipped else ""
    if result.stop_reason == "finished":
        output.say(f"finished: {result.steps} steps{exploded}")
    else:
        output.say(f"stopped ({result.stop_reason}) after {result.steps_done} of {result.steps} steps; resume with: ntire-sr train --run {run} --resume")
    output.say(f"weights: {result.weights}")
    output.say(f"losses and previews: {folder.training_page}")
