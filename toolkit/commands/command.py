"""Commands as `--help` shows them: in the order of the pipeline, options in groups, examples at the end."""

from collections.abc import Mapping, Sequence
from typing import Any

import click


class Group(click.Group):
    """A group whose commands are listed in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in their order."""
        return list(self.commands)


class Command(click.Command):
    """A command with groups of options and examples.

    Args:
        groups: title -> names of options, in the order of `--help`; the others come last.
        examples: command lines for the end of `--help`.
        former: former spelling of an option -> its name now; still taken, and shown nowhere.
    """

    def __init__(
        self,
        *args: Any,
        groups: Mapping[str, Sequence[str]],
        examples: Sequence[str],
        former: Mapping[str, str] | None = None,
        **settings: Any,
    ):
        super().__init__(*args, **settings)
        self.groups, self.examples, self.former = groups, examples, former or {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words of a command line, in which former spellings count as those of now."""
        return super().parse_args(ctx, [self._of_now(word) for word in args])

    def _of_now(self, word: str) -> str:
        name, sign, value = word.partition("=")
        return f"{self.former[name]}{sign}{value}" if name in self.former else word

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        title_of = {f"--{name}": title for title, names in self.groups.items() for name in names}
        rows: dict[str, list[tuple[str, str]]] = {title: [] for title in (*self.groups, "Other options")}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record and not isinstance(param, click.Argument):
                title = next((title_of[each] for each in param.opts if each in title_of), "Other options")
                rows[title].append(record)
        for title, records in rows.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, each in one line that can be copied."""
        with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
            for line in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class GroupCommand(Command, Group):
    """A group that is a command, too: without one of its own commands it does something itself."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group, and the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)
