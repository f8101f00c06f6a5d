"""`ntire-sr models`: lists the networks that can draw samples; `models check` tests one."""

import sys
from pathlib import Path

import click

from ntire_sr.commands.command import Command, GroupCommand, option, option_group
from ntire_sr.commands.options import PATH, SCALE, device_option
from ntire_sr.commands.output import Output, output_options


@click.group(cls=GroupCommand, invoke_without_command=True, examples=("ntire-sr models --json",))
@click.pass_context
@output_options
def models(context: click.Context, output: Output) -> None:
    """List the models that `generate --model` takes by name.

    They belong to this package, or to installed packages with entry points in the group ntire_sr.models.
    Listing them does not run their code.
    """
    if context.invoked_subcommand:
        return
    from rich.table import Table

    from ntire_sr.models.registry import list_models

    listed = list_models()
    output.json([model.as_json() for model in listed])
    table = Table("model", "from", "weights", "what it is")
    for model in listed:
        table.add_row(model.name, model.origin, model.weights, model.summary)
    output.console().print(table)
    output.say("your own network: ntire-sr generate --model my_net.py:build; ntire-sr models check tests it")


@models.command("check", cls=Command, examples=("ntire-sr models check my_net.py:build --weights my.pth",))
@click.argument("model", metavar="MODEL")
@option_group(
    "Model",
    option("--weights", type=PATH, show_default="none", help="Weights file that is passed to the network."),
    option("--scale", type=SCALE, show_default="every scale that the network supports", help="Test only this scale."),
)
@option_group(
    "Computing",
    device_option,
)
@output_options
def models_check(model: str, weights: Path | None, scale: int | None, device: str, output: Output) -> None:
    """Test a network: FILE.py:FUNCTION, MODULE:FUNCTION or a name of the list.

    At each scale that the network supports, draws a photograph at odd sizes, twice with one seed, with two
    seeds, and in tiles if the network states its receptive fields. Exit code 1 if a check fails. This runs the
    code that you name.
    """
    from rich.table import Table
    from rich.text import Text

    from ntire_sr.core.device import choose_device
    from ntire_sr.core.errors import plural, printable
    from ntire_sr.sampling.model_check import check_model

    findings = check_model(model, weights, scale, choose_device(device), output.progress())
    broken = sum(finding.holds is False for finding in findings)
    output.json({"passes": not broken, "findings": [finding.as_json() for finding in findings]})
    table = Table("scale", "what", "holds", "found")
    for finding in findings:
        holds = {True: "yes", False: "NO", None: ""}[finding.holds]
        table.add_row(str(finding.scale), finding.what, holds, Text(printable(finding.found)))
    output.console().print(table)
    output.say(f"FAIL: {plural(broken, 'failed check')}" if broken else "PASS")
    if broken:
        sys.exit(1)
