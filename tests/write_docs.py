"""Write docs/commands.md, docs/settings.md and docs/reference.md from the code.

Run: python tests/write_docs.py
"""

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from ntire_sr.commands.cli import cli
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.models.registry import MODELS
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.run_config import make_run_config
from ntire_sr.training.trainers.registry import TRAINERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGE_FOLDERS = ("toolkit", "models", "evaluation", "submission")

# name -> what it does; `reference_page` fails if the code reads a variable that is missing here
VARIABLES = {
    "NTIRE_SR_BFLOAT16": "1 or 0: whether `train` and `generate` assume with the precision `auto` that the processor computes bfloat16 in hardware, instead of asking it.",
    "NTIRE_SR_CACHE": "Folder for the [cache of decoded images](data.md#the-cache-of-decoded-images), instead of the user's cache folder.",
    "NTIRE_SR_FEATURE_WEIGHTS": "File of the network whose features `train` compares, instead of the package's SqueezeNet 1.1; of VGG-19 with `--set features=vgg19`.",
    "NTIRE_SR_LPIPS_WEIGHTS": "Another file of AlexNet, for LPIPS, instead of the package's.",
    "NTIRE_SR_OFFLINE": "Any value but 0 forbids downloads, which only `features=vgg19` and some `--realism iqa:NAME` need.",
}
TEST_VARIABLES = {
    "NTIRE_SR_CHROMIUM": "Path of the Chromium in which the pages of `score`, `compare` and the study are tested.",
    "NTIRE_SR_SHARED": "Folder with golden outputs and pretrained networks for the tests that need them.",
}
EXIT_CODES = {
    0: "Done.",
    NtireSrError.exit_code: "Failure: a broken file, a full disk, a check that did not pass.",
    UsageError.exit_code: "Usage error: an unknown option or setting, a value out of range, a folder without images.",
    130: "Interrupted by Ctrl-C. `train` ends with a checkpoint and 0 instead.",
}


def escape_pipes(text: str) -> str:
    """The text for a cell of a Markdown table."""
    return text.replace("|", "\\|")


def default_text(option: click.Option) -> str:
    """The default of an option for the table of options."""
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default
    if option.is_flag:
        return "off" if not option.default else f"{option.opts[0]}"
    return f"{option.default}".replace("\\", "/")


def all_commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """(name as typed, command) of every command, also of those inside groups."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield f"{before}{name}", command
            yield from all_commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def commands_page() -> str:
    """The page of all commands and options."""
    lines = ["# Commands", "", "Written from `--help` by `python tests/write_docs.py`.", ""]
    for name, command in all_commands(cli):
        text = " ".join((command.help or "").split())
        arguments = [str(param.metavar) for param in command.params if isinstance(param, click.Argument)]
        lines += [
            f"## {' '.join(['ntire-sr', name, *arguments])}",
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
            lines.append(
                f"| {escape_pipes(words)} | {escape_pipes(default_text(option))} | {escape_pipes(option.help or '')} |"
            )
        lines += ["", "```sh", *command.examples, "```", ""]
    return "\n".join(lines)


def settings_table(record: type, preset: str, values: Mapping[str, Any]) -> list[str]:
    """The fields of a settings record, with the values of a preset and the comment after each field in the source."""
    # a record may extend another one, whose comments are in its own source
    sources = [inspect.getsource(part) for part in reversed(record.__mro__) if dataclasses.is_dataclass(part)]
    comments = dict(re.findall(r"^    (\w+): .*?  # (.*)$", "\n".join(sources), re.MULTILINE))
    lines = ["| setting | default | |", "|---|---|---|"]
    for field in dataclasses.fields(record):
        value = "none" if field.default is None else field.default
        if values.get(field.name, field.default) != field.default:
            value = f"{value}; {preset}: {values[field.name]}"
        lines.append(f"| `{field.name}` | {value} | {escape_pipes(comments[field.name])} |")
    return [*lines, ""]


def settings_page() -> str:
    """The page of all settings of `train`, with the presets."""
    default = make_run_config({}).config  # of `ntire-sr train` without options
    default_preset, default_values = default.preset, TRAINERS[default.model].presets[default.preset]
    lines = [
        "# Settings of training",
        "",
        "Each is set by `--set KEY=VALUE`; some also have an option. Written from the code by `python tests/write_docs.py`.",
        "",
        f"Without options `ntire-sr train` trains `{default.model}` with the preset `{default_preset}`. Where this preset replaces a default,",
        "both values are given.",
        "",
        "## Every model",
        "",
        *settings_table(TrainConfig, default_preset, default_values),
    ]
    for name, trainer in TRAINERS.items():
        model = MODELS[name]
        lines += [
            f"## {model.name}",
            "",
            f"{model.summary[0].upper()}{model.summary[1:]}.",
            "",
            *settings_table(trainer.settings, default_preset, default_values if name == default.model else {}),
        ]
        for preset, values in trainer.presets.items():
            shown = ", ".join(f"`{name}={value}`" for name, value in values.items()) or "the defaults above"
            lines += [f"Preset `{preset}`: {shown}.", ""]
    return "\n".join(lines)


def variables_in(*folders: str) -> set[str]:
    """Names of the environment variables NTIRE_SR_... in the Python files of some folders."""
    texts = (path.read_text(encoding="utf-8") for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {name for text in texts for name in re.findall(r"NTIRE_SR_[A-Z0-9_]*[A-Z0-9]", text)}


def reference_page() -> str:
    """The page of what all commands share: variables, exit codes, streams, JSON, shell completion."""
    unknown = variables_in(*PACKAGE_FOLDERS) ^ VARIABLES.keys()
    assert not unknown, f"in VARIABLES but not in the code, or the reverse: {sorted(unknown)}"
    lines = [
        "# Reference",
        "",
        "What all commands share. [Commands](commands.md) lists the commands and options, and [Settings](settings.md) the",
        "settings of `train`. Written from the code by `python tests/write_docs.py`.",
        "",
        "## Environment variables",
        "",
        "| variable | what it does |",
        "|---|---|",
        *(f"| `{name}` | {escape_pipes(text)} |" for name, text in sorted(VARIABLES.items())),
        "",
        "The tests read two more; see [Contributing](../CONTRIBUTING.md#tests-that-need-files-from-elsewhere).",
        "",
        "| variable | what it does |",
        "|---|---|",
        *(f"| `{name}` | {escape_pipes(text)} |" for name, text in sorted(TEST_VARIABLES.items())),
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        *(f"| {code} | {escape_pipes(text)} |" for code, text in EXIT_CODES.items()),
        "",
        "`data check`, `models check` and `verify` end with 1 if they find something wrong, and `score --exit-code` if a",
        "sample is under 45 dB.",
        "",
        "## Output",
        "",
        "Results go to standard output, progress and errors to standard error. Without a terminal there are no progress",
        "bars. An error states what was found, where, and how to fix it. With `--quiet`, which every command has, only",
        "errors are printed.",
        "",
        "## JSON for scripts",
        "",
        "With `--json`, which every command has, the result is printed as one JSON object instead of text; progress and",
        "errors stay on standard error. `score` also writes the object to `score.json` and `compare` to `compare.json`.",
        '`train --dry-run` prints the whole configuration as JSON. Infinity is written as the text `"inf"`, and an undefined value',
        "as `null`.",
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
        "Tested with bash 5.2, zsh 5.9 and fish 3.6. In zsh put the line after `compinit`. In a new shell the tab key",
        "then completes ntire-sr gen to `ntire-sr generate`.",
        "",
        "## Seeds and reproducibility",
        "",
        "`train --seed` determines the initial weights, the crops and the noise",
        "([more](training.md#seeds-and-reproducibility)); `generate --seed` determines the samples",
        "([more](generate.md#seeds-and-reproducibility)); `verify --seed` determines which samples are drawn again.",
        "`package` and `study make` write the same bytes for the same input.",
        "",
    ]
    return "\n".join(lines)


PAGES = {
    DOCS / "commands.md": commands_page,
    DOCS / "settings.md": settings_page,
    DOCS / "reference.md": reference_page,
}

if __name__ == "__main__":
    DOCS.mkdir(exist_ok=True)
    for path, write in PAGES.items():
        path.write_text(write(), encoding="utf-8")
