"""Commands as `--help` shows them: in the order of the pipeline, options under titles, examples at the end.

`option_group` is written here instead of taken from cloup, whose import takes as long as that of click itself.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from ntire_sr.core.errors import suggestion

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
OTHER_OPTIONS = "Other options"
# words of other programs -> the command that is meant
MEANT = {"sample": "generate", "infer": "generate", "inference": "generate", "test": "score", "eval": "score", "evaluate": "score",
         "zip": "package", "submit": "package", "pack": "package", "check": "verify", "list": "models", "version": "doctor", "info": "doctor"}  # fmt: skip


class Option(click.Option):
    """An option with a title that it is listed under.

    Args:
        former: former spelling of the option: still accepted, with a warning, and not listed.
    """

    def __init__(self, *args: Any, former: str | None = None, **settings: Any):
        super().__init__(*args, **settings)
        self.former = former
        self.title = OTHER_OPTIONS


def option(*names: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    """`click.option` for an `Option` whose default `--help` shows; a flag is off by default."""
    defaults = {"show_default": True, **({"default": False} if settings.get("is_flag") else {})}
    return click.option(*names, cls=Option, **{**defaults, **settings})


def option_group(title: str, *options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """List these options under one title in `--help`; groups with the same title are joined."""

    def decorate(command: Decorated) -> Decorated:
        for add in reversed(options):
            add(command)
            vars(command)["__click_params__"][-1].title = title
        return command

    return decorate


class Group(click.Group):
    """A group whose commands are listed in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in their order."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the words name; the error for an unknown one names the one that is probably meant."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            names = self.list_commands(ctx)
            meant = suggestion(MEANT.get(args[0].lower(), args[0]), names)
            ctx.fail(f"No such command {args[0]!r}; try: {meant}")
        return super().resolve_command(ctx, args)


class Command(click.Command):
    """A command with options under titles, and examples.

    Args:
        examples: command lines for the end of `--help`.
    """

    def __init__(self, *args: Any, examples: Sequence[str], **settings: Any):
        super().__init__(*args, **settings)
        self.examples = examples

    @property
    def former_spellings(self) -> dict[str, str]:
        """Former spelling of an option -> its spelling now."""
        return {param.former: param.opts[0] for param in self.params if isinstance(param, Option) and param.former}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words of a command line, with former spellings of options replaced."""
        former_spellings = self.former_spellings
        words = []
        for word in args:
            name, sign, value = word.partition("=")
            if name in former_spellings:
                if "--quiet" not in args and not ctx.resilient_parsing:
                    click.echo(f"warning: {name} is deprecated; use {former_spellings[name]}", err=True)
                word = f"{former_spellings[name]}{sign}{value}"
            words.append(word)
        return super().parse_args(ctx, words)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, title by title; those without a title come last."""
        records: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record and not isinstance(param, click.Argument):
                records.setdefault(getattr(param, "title", OTHER_OPTIONS), []).append(record)
        for title in sorted(records, key=lambda title: title == OTHER_OPTIONS):
            with formatter.section(title):
                formatter.write_dl(records[title])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, each in one line that can be copied."""
        with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
            for line in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class GroupCommand(Command, Group):
    """A group that also does something itself when it is called without one of its commands."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, title by title, and the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)
