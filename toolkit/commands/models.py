"""`ntire-sr models`: the networks that can be drawn with, and trying one out."""

import sys
from typing import Any

import click

from ntire_sr.commands.options import PATH, SCALE, device_option, stdout_console


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, default=False, show_default=True, help="Print JSON instead of a table.")
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List the models that `generate --model` takes by name.

    Those of this package, and those that installed packages offer in the group ntire_sr.models of entry
    points. Nothing of theirs is run by this.
    """
    if context.invoked_subcommand:
        return
    import json

    from ntire_sr.models.registry import list_models

    found = list_models()
    if as_json:
        click.echo(json.dumps([each.as_json() for each in found], indent=1))
        return
    from rich.table import Table

    table = Table("model", "from", "weights", "what it is")
    for each in found:
        table.add_row(each.name, each.origin, each.weights, each.summary)
    stdout_console().print(table)
    click.echo("a network of your own: ntire-sr generate --model my_net.py:build; ntire-sr models check tries it out")


@models.command("check")
@click.argument("model", metavar="MODEL")
@click.option("--weights", type=PATH, show_default="none", help="Weights file that is handed to the network.")
@click.option("--scale", type=SCALE, show_default="every scale that the network claims", help="Try this scale alone.")
@device_option
@click.option("--json", "as_json", is_flag=True, default=False, show_default=True, help="Print JSON instead of a table.")
def models_check(model: str, as_json: bool, **options: Any) -> None:
    """Try out a network: FILE.py:FUNCTION, MODULE:FUNCTION or a name of the list.

    Draws a photograph at odd sizes, twice with one seed, with two seeds, and in tiles beside at once if the
    network states its reaches, at each scale that it claims. Exit code 1 where something does not hold. The
    code that is named is run.
    """
    import json

    from ntire_sr.core.device import choose_device
    from ntire_sr.core.errors import plural, printable
    from ntire_sr.core.progress import TerminalProgress
    from ntire_sr.sampling.model_check import check_model

    scale, device = options.pop("scale"), choose_device(options.pop("device"))
    found = check_model(model, options["weights"], int(scale) if scale else None, device, TerminalProgress())
    broken = sum(each.holds is False for each in found)
    if as_json:
        click.echo(json.dumps({"passes": not broken, "findings": [each.as_json() for each in found]}, indent=1))
    else:
        from rich.table import Table
        from rich.text import Text

        table = Table("scale", "what", "holds", "found")
        for each in found:
            holds = {True: "yes", False: "NO", None: ""}[each.holds]
            table.add_row(str(each.scale), each.what, holds, Text(printable(each.found)))
        stdout_console().print(table)
        click.echo(f"FAIL: {plural(broken, 'thing')} that should hold" if broken else "PASS")
    if broken:
        sys.exit(1)
