"""How help looks: sentences that are whole, and arguments as people write them."""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose help names each argument as its usage does, without brackets around brackets."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what stands behind the name in the usage."""
        return [self.options_metavar or "", *(each.display_name_raw for each in _arguments(self, ctx))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then options."""
        given = [(each.display_name_raw, each.help) for each in _arguments(self, ctx)]
        if given:
            with formatter.section("Arguments"):
                formatter.write_dl(given)
        options = [each.get_help_record(ctx) for each in self.get_params(ctx) if each.param_type_name == "option"]
        with formatter.section("Options"):
            formatter.write_dl([each for each in options if each is not None])


class Group(TyperGroup):
    """Commands, each with its first sentence whole."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a line or two for each command."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, _first(each.help or "")) for name, each in found if each is not None])


def dress(cli: typer.Typer) -> None:
    """Let a command line, its groups and their commands show such help."""
    cli.info.cls = Group
    for command in cli.registered_commands:
        command.cls = Command
    for group in cli.registered_groups:
        if group.typer_instance is not None:
            dress(group.typer_instance)


def _arguments(command: TyperCommand, ctx: Any) -> list[Any]:
    return [each for each in command.get_params(ctx) if each.param_type_name == "argument"]


def _first(text: str) -> str:
    """Return the first paragraph as one line."""
    return " ".join(text.split("\n\n", maxsplit=1)[0].split())
