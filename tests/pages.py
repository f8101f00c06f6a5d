"""Parser of README and docs: blocks, command lines and links.

Command lines are checked by the parsers of their programs.

Blocks marked `sh`, or not marked, contain commands; blocks marked `text` contain output.
"""

import configparser
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from write_docs import cli

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "models/MODEL_CARD.md")),
]


def check_settings(words: tuple[str, ...], options: dict[str, Any]) -> None:
    """Check `--set` words and options as `train` does; for a user's network with the settings of an example."""
    from ntire_sr.core.settings import parse_words
    from ntire_sr.models.external import names_network
    from ntire_sr.training.run_config import make_run_config

    if names_network(str(options.get("model"))):
        options = {**options, "model": f"{ROOT / 'docs' / 'networks' / 'noise.py'}:build"}
    make_run_config({**parse_words(words), **options})


# ---- the contents of a page


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    section: str  # the heading above it
    lines: tuple[str, ...]

    @property
    def commands(self) -> list[str]:
        """The command lines of the block, continuation lines joined, comments cut off; none in one of output."""
        if self.language not in ("", "sh"):
            return []
        joined = "\n".join(self.lines).replace("\\\n", " ")
        cut = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.split("\n"))
        return [line for line in cut if line]


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    complete, section, language, lines = [], "", None, []
    for line in page.read_text(encoding="utf-8").split("\n"):
        if line.startswith("```"):
            if language is None:
                language, lines = line[3:].strip(), []
            else:
                complete.append(Block(language, section, tuple(lines)))
                language = None
        elif language is not None:
            lines.append(line)
        elif line.startswith("#"):
            section = line.lstrip("# ")
    assert language is None, f"{page}: a block does not end"
    return complete


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def spans(page: Path) -> list[str]:
    """The texts between backticks in a page, without its blocks."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


def commands(page: Path, *sections: str) -> list[str]:
    """Command lines of a page's blocks, in their order; of these sections, or of all."""
    return [
        line for block in blocks(page) if not sections or block.section in sections for line in block.commands
    ]


# ---- checks of command lines


def check_ntire_sr(words: list[str], mention: bool = False) -> None:
    """Parse the words after `ntire-sr` as the command does, without running it.

    Args:
        words: words of the command line.
        mention: whether it is named in a sentence, where required options may be missing.
    """
    command: click.Command = cli
    context = click.Context(cli, info_name="ntire-sr", **cli.context_settings)
    while isinstance(command, click.Group):
        if command.invoke_without_command and (not words or words[0].startswith("-")):
            break
        assert words, f"{context.command_path}: a group is no command"
        subcommand = command.get_command(context, words[0])
        assert subcommand, f"{context.command_path} has no command {words[0]!r}"
        command, words = subcommand, words[1:]
    placeholder = mention and "KEY=VALUE" in words
    try:
        with command.make_context(command.name, list(words), parent=context) as parsed:
            params = parsed.params
    except click.MissingParameter:
        assert mention
        return
    if command.name == "train" and not placeholder:
        others = ("run", "words", "resume", "dry_run", "config", "as_json", "quiet")
        options = {name: value for name, value in params.items() if name not in others and value is not None}
        options = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
        check_settings(params["words"], options)


def check_torchrun(words: list[str]) -> None:
    """Parse the words after `torchrun` as it does, and those that it passes to ntire-sr."""
    from torch.distributed.run import get_args_parser

    parsed = get_args_parser().parse_args(words)
    assert parsed.module and parsed.training_script == "ntire_sr", "it starts something else"
    assert words[words.index("ntire_sr") - 1] == "--", "torchrun would read options of ntire-sr as its own"
    check_ntire_sr(parsed.training_script_args)


def check_make(words: list[str]) -> None:
    """Each word is a target of the Makefile."""
    targets = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert words and set(words) <= set(targets), f"the Makefile has {', '.join(targets)}"


def check_pip(words: list[str]) -> None:
    """`pip install` of this project, of its extras or of a package that it requires."""
    assert words[0] == "install"
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    for before, word in pairwise(words):
        if before == "-c":
            assert (ROOT / word).is_file(), word
        elif before == "--index-url":
            assert word.startswith("https://"), word
        elif not word.startswith("-") and not re.search(
            rf"^{word}>=", config["options"]["install_requires"], re.MULTILINE
        ):
            match = re.fullmatch(r"(\.|ntire-sr)(?:\[([\w,]+)\])?", word)
            assert match, word
            extras = set(match[2].split(",")) if match[2] else set()
            assert extras <= set(config["options.extras_require"]), word


def check_python(words: list[str]) -> None:
    """A module of a short list, or a script of the project with options that it contains."""
    if words[0] == "-m":
        assert words[1] in ("venv", "pytest", "ntire_sr"), words[1]
        return
    script = (ROOT / words[0]).read_text(encoding="utf-8")
    for word in words[1:]:
        assert not word.startswith("--") or f'"{word}"' in script, f"{words[0]} has no option {word}"


CHECKS = {
    "ntire-sr": check_ntire_sr,
    "torchrun": check_torchrun,
    "make": check_make,
    "pip": check_pip,
    "python": check_python,
}


# ---- links


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """All anchors of a page; repeated headings are numbered."""
    names: list[str] = []
    for heading in re.findall(r"^#+ +(.*?) *$", prose(page), re.MULTILINE):
        name = slug(heading)
        earlier = names.count(name)
        names.append(name)
        if earlier:
            names.append(f"{name}-{earlier}")
    return set(names)


def links(page: Path) -> list[str]:
    """The targets of a page's links and pictures, without those between backticks."""
    text = re.sub(r"`[^`]*`", "", prose(page))
    return re.findall(r"\]\(\s*([^)\s]+)\s*\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
