"""The command line itself: commands imported when they are called, help in plain text and in groups.

Plain, because rich alone would take longer to import than a help text may take to come.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from cri import __version__
from pleg.cli import COMMANDS

_CONTEXT: Final = {"help_option_names": ["-h", "--help"]}


class Command(TyperCommand):
    """Shows its options in the groups that they name as rich_help_panel."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=28)


class Commands(TyperGroup):
    """Lists commands from the table, and imports the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return command_line(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in COMMANDS.items()])


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pleg {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """A kubelet's eyes on a bench: watches a container runtime over CRI as a kubelet's PLEG does, and shows its health,
    its metrics and its events.

    \b
    Try:
      pleg run --help
      pleg run --runtime-endpoint unix:///run/containerd/containerd.sock
      fake-cri --help       a runtime without containers, to watch and to break
    """


def command_line(name: str | None = None) -> Any:
    """The click command of one of COMMANDS, or the group of all."""
    if name is not None:
        module, _, function = COMMANDS[name][0].partition(":")
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command(name, cls=Command, context_settings=_CONTEXT)(getattr(importlib.import_module(module), function))
        return typer.main.get_command(app)
    app = typer.Typer(cls=Commands, context_settings=_CONTEXT, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(_root)
    return typer.main.get_command(app)
