"""Write docs/commands.md, docs/settings.md and docs/reference.md from the code itself.

Run: python tests/write_docs.py
"""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from ntire_sr.commands.cli import cli
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.models.registry import MODELS
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.trainers.registry import TRAINERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGE_FOLDERS = ("toolkit", "models", "evaluation", "submission")

# name -> what it does; `reference` refuses to be written while one that the code reads is missing here
VARIABLES = {
    "NTIRE_SR_BFLOAT16": "1 or 0: whether `precision=auto` of `train` takes the processor for one that computes bfloat16 in hardware, instead of asking it.",
    "NTIRE_SR_CACHE": "Folder for the [cache of decoded images](data.md#the-cache-of-decoded-images), in place of the user's cache folder.",
    "NTIRE_SR_FEATURE_WEIGHTS": "File of the network whose features `train` compares: SqueezeNet 1.1, or VGG-19 with `--set features=vgg19`.",
    "NTIRE_SR_LPIPS_WEIGHTS": "File of AlexNet, for LPIPS.",
    "NTIRE_SR_MIRROR": "Address to fetch [pretrained files](pretrained.md) from, in place of download.pytorch.org.",
    "NTIRE_SR_OFFLINE": "Set to anything but 0, it forbids downloads.",
}
TEST_VARIABLES = {
    "NTIRE_SR_CHROMIUM": "Path of the Chromium in which the pages of `score`, `compare` and the study are tested.",
    "NTIRE_SR_SHARED": "Folder with golden outputs and pretrained networks for the tests that need them.",
}
EXIT_CODES = {
    0: "Done.",
    NtireSrError.exit_code: "It failed: a broken file, a full disk, a check that did not pass.",
    UsageError.exit_code: "Wrong use: an unknown option or setting, a value out of range, a folder without images.",
    130: "Interrupted by Ctrl-C. `train` ends with a checkpoint and 0 instead.",
}


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
            if command.invoke_without_command:
                yield f"{before}{name}", command
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
        lines += ["", "```sh", *command.examples, "```", ""]
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
    for name, trainer in TRAINERS.items():
        model = MODELS[name]
        lines += [
            f"## {model.name}",
            "",
            f"{model.summary[0].upper()}{model.summary[1:]}.",
            "",
            *table(trainer.settings),
        ]
        for preset, values in trainer.presets.items():
            shown = ", ".join(f"`{name}={value}`" for name, value in values.items()) or "the defaults above"
            lines += [f"Preset `{preset}`: {shown}.", ""]
    return "\n".join(lines)


def variables_in(*folders: str) -> set[str]:
    """The environment variables of ours that the Python files below some folders name."""
    texts = (path.read_text(encoding="utf-8") for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {name for text in texts for name in re.findall(r"NTIRE_SR_[A-Z0-9_]*[A-Z0-9]", text)}


def reference() -> str:
    """The page of what all commands share: variables, exit codes, streams, JSON, shell completion."""
    unknown = variables_in(*PACKAGE_FOLDERS) ^ VARIABLES.keys()
    assert not unknown, f"described in VARIABLES but not read, or the other way round: {sorted(unknown)}"
    lines = [
        "# Reference",
        "",
        "Every command and option stands in [Commands](commands.md), every setting of `train` in",
        "[Settings](settings.md). This page has what all commands share. Written from the code by",
        "`python tests/write_docs.py`.",
        "",
        "## Environment variables",
        "",
        "| variable | what it does |",
        "|---|---|",
        *(f"| `{name}` | {cell(text)} |" for name, text in sorted(VARIABLES.items())),
        "",
        "The tests read two more; see [Contributing](../CONTRIBUTING.md#tests-that-need-files-from-elsewhere).",
        "",
        "| variable | what it does |",
        "|---|---|",
        *(f"| `{name}` | {cell(text)} |" for name, text in sorted(TEST_VARIABLES.items())),
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        *(f"| {code} | {cell(text)} |" for code, text in EXIT_CODES.items()),
        "",
        "`data check`, `models check` and `verify` end with 1 where they find something wrong, and `score --exit-code` where",
        "a sample is under 45 dB.",
        "",
        "## Output",
        "",
        "Results go to standard output, progress and errors to standard error. Without a terminal there are no progress",
        "bars. An error says what was found, where, and what to do about it. With `--quiet`, which every command takes,",
        "nothing but errors is printed.",
        "",
        "## JSON for scripts",
        "",
        "With `--json`, which every command takes, the result is printed as one JSON object in place of text; progress and",
        "errors stay on standard error. `score` also writes it to `score.json`, `compare` to `compare.json`, and `train --dry-run` prints the whole",
        'configuration as JSON. Infinity is the text `"inf"` there, and what is not defined is `null`.',
        "",
        "```sh",
        "ntire-sr score --hr DIV2K_valid_HR --sr samples --out score --json --quiet",
        "```",
        "",
        "## Shell completion",
        "",
        "Commands, options and their choices are completed in bash, zsh and fish. Put one of these lines into the",
        "start-up file of your shell:",
        "",
        "```sh",
        'eval "$(_NTIRE_SR_COMPLETE=bash_source ntire-sr)"  # bash 4.4 or newer: ~/.bashrc',
        'eval "$(_NTIRE_SR_COMPLETE=zsh_source ntire-sr)"   # zsh: ~/.zshrc',
        "_NTIRE_SR_COMPLETE=fish_source ntire-sr | source   # fish: ~/.config/fish/config.fish",
        "```",
        "",
        "Tried in bash 5.2, zsh 5.9 and fish 3.6. In zsh the line comes behind `compinit`. In a new shell the tab key",
        "then completes ntire-sr gen to `ntire-sr generate`.",
        "",
        "## Seeds and reproducibility",
        "",
        "`train --seed` decides the initial weights, the crops and the noise",
        "([more](training.md#seeds-and-reproducibility)); `generate --seed` decides the samples",
        "([more](generate.md#seeds-and-reproducibility)); `verify --seed` decides which samples are drawn again.",
        "`package` and `study make` write the same bytes for the same input.",
        "",
    ]
    return "\n".join(lines)


PAGES = {
    DOCS / "commands.md": commands,
    DOCS / "settings.md": settings,
    DOCS / "reference.md": reference,
}

if __name__ == "__main__":
    DOCS.mkdir(exist_ok=True)
    for path, write in PAGES.items():
        path.write_text(write(), encoding="utf-8")
