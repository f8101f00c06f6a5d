"""`ntire-sr models`: the networks that can be drawn with, and trying one out."""

import sys
from typing import Any

import click

from ntire_sr.commands.command import Command, GroupCommand
from ntire_sr.commands.options import PATH, SCALE, device_option
from ntire_sr.commands.output import Output, output_options


@click.group(
    cls=GroupCommand,
    invoke_without_command=True,
    groups={"Output": ("json", "quiet")},
    examples=("ntire-sr models --json",),
)
@click.pass_context
@output_options
def models(context: click.Context, output: Output) -> None:
    """List the models that `generate --model` takes by name.

    Those of this package, and those that installed packages offer in the group ntire_sr.models of entry
    points. Nothing of theirs is run by this.
    """
    if context.invoked_subcommand:
        return
    from rich.table import Table

    from ntire_sr.models.registry import list_models

    found = list_models()
    output.json([each.as_json() for each in found])
    table = Table("model", "from", "weights", "what it is")
    for each in found:
        table.add_row(each.name, each.origin, each.weights, each.summary)
    output.console().print(table)
    output.say("a network of your own: ntire-sr generate --model my_net.py:build; ntire-sr models check tries it out")


@models.command(
    "check",
    cls=Command,
    groups={"Model": ("weights", "scale"), "Computing": ("device",), "Output": ("json", "quiet")},
    examples=("ntire-sr models check my_net.py:build --weights my.pth",),
)
@click.argument("model", metavar="MODEL")
@click.option("--weights", type=PATH, show_default="none", help="Weights file that is handed to the network.")
@click.option("--scale", type=SCALE, show_default="every scale that the network claims", help="Try this scale alone.")
@device_option
@output_options
def models_check(model: str, output: Output, **options: Any) -> None:
    """Try out a network: FILE.py:FUNCTION, MODULE:FUNCTION or a name of the list.

    Draws a photograph at odd sizes, twice with one seed, with two seeds, and in tiles beside at once if the
    network states its reaches, at each scale that it claims. Exit code 1 where something does not hold. The
    code that is named is run.
    """
    from rich.table import Table
    from rich.text import Text

    from ntire_sr.core.device import choose_device
    from ntire_sr.core.errors import plural, printable
    from ntire_sr.sampling.model_check import check_model

    scale, device = options.pop("scale"), choose_device(options.pop("device"))
    found = check_model(model, options["weights"], int(scale) if scale else None, device, output.progress())
    broken = sum(each.holds is False for each in found)
    output.json({"passes": not broken, "findings": [each.as_json() for each in found]})
    table = Table("scale", "what", "holds", "found")
    for each in found:
        holds = {True: "yes", False: "NO", None: ""}[each.holds]
        table.add_row(str(each.scale), each.what, holds, Text(printable(each.found)))
    output.console().print(table)
    output.say(f"FAIL: {plural(broken, 'thing')} that should hold" if broken else "PASS")
    if broken:
        sys.exit(1)
