"""Write docs/commands.md and docs/settings.md from the code itself. Run: python tests/write_docs.py"""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from ntire_sr.commands.cli import cli
from ntire_sr.models.registry import MODELS
from ntire_sr.models.train_config import TrainConfig

DOCS = Path(__file__).parents[1] / "docs"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def default(option: click.Option) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default
    if option.is_flag:
        return "off" if not option.default else f"{option.opts[0]}"
    return f"{option.default}".replace("\\", "/")


def leaves(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """(name as typed, command) of every command, also of those inside groups."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def commands() -> str:
    """The page of all commands and options."""
    lines = ["# Commands", "", "Written from `--help` by `python tests/write_docs.py`.", ""]
    for name, command in leaves(cli):
        text = " ".join((command.help or "").split())
        taken = [str(each.metavar) for each in command.params if isinstance(each, click.Argument)]
        lines += [
            f"## {' '.join(['ntire-sr', name, *taken])}",
            "",
            text,
            "",
            "| option | default | |",
            "|---|---|---|",
        ]
        for option in command.params:
            if not isinstance(option, click.Option):
                continue
            words = " / ".join(f"`{word}`" for word in (*option.opts, *option.secondary_opts))
            if isinstance(option.type, click.Choice):
                words += " " + "|".join(map(str, option.type.choices))
            elif not option.is_flag:
                words += f" {option.metavar or option.type.name.split()[0].upper()}"
            lines.append(f"| {cell(words)} | {cell(default(option))} | {cell(option.help or '')} |")
        lines.append("")
    return "\n".join(lines)


def table(record: type) -> list[str]:
    """The fields of a settings record, with the comment that stands behind each in the source."""
    # a record may extend another one, whose comments stand in its own source
    sources = [inspect.getsource(part) for part in reversed(record.__mro__) if dataclasses.is_dataclass(part)]
    comments = dict(re.findall(r"^    (\w+): .*?  # (.*)$", "\n".join(sources), re.MULTILINE))
    lines = ["| setting | default | |", "|---|---|---|"]
    for field in dataclasses.fields(record):
        value = "none" if field.default is None else field.default
        lines.append(f"| `{field.name}` | {value} | {cell(comments[field.name])} |")
    return [*lines, ""]


def settings() -> str:
    """The page of all settings of `train`, with the presets."""
    lines = [
        "# Settings of training",
        "",
        "Each is set by `--set KEY=VALUE`; some have an option of their own.",
    ]
    lines += [
        "Written from the code by `python tests/write_docs.py`.",
        "",
        "## Every model",
        "",
        *table(TrainConfig),
    ]
    for model in MODELS.values():
        if model.trainer is None:
            continue
        lines += [
            f"## {model.name}",
            "",
            f"{model.summary[0].upper()}{model.summary[1:]}.",
            "",
            *table(model.settings),
        ]
        for preset, values in model.presets.items():
            shown = ", ".join(f"`{name}={value}`" for name, value in values.items()) or "the defaults above"
            lines += [f"Preset `{preset}`: {shown}.", ""]
    return "\n".join(lines)


PAGES = {DOCS / "commands.md": commands, DOCS / "settings.md": settings}

if __name__ == "__main__":
    DOCS.mkdir(exist_ok=True)
    for path, write in PAGES.items():
        path.write_text(write(), encoding="utf-8")
