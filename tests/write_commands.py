"""Write docs/commands.md from the commands' own help. Run: python tests/write_commands.py"""

from pathlib import Path

import click

from ntire_sr.cli import cli

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"


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


def page() -> str:
    """The whole page."""
    lines = ["# Commands", "", "Written from `--help` by `python tests/write_commands.py`.", ""]
    for name, command in cli.commands.items():
        lines += [
            f"## ntire-sr {name}",
            "",
            " ".join((command.help or "").split()),
            "",
            "| option | default | |",
            "|---|---|---|",
        ]
        for option in command.params:
            assert isinstance(option, click.Option)
            words = " / ".join(f"`{word}`" for word in (*option.opts, *option.secondary_opts))
            if isinstance(option.type, click.Choice):
                words += " " + cell("|".join(map(str, option.type.choices)))
            elif not option.is_flag:
                words += f" {option.metavar or (option.type.name.split()[0].upper())}"
            lines.append(f"| {words} | {cell(default(option))} | {cell(option.help or '')} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
