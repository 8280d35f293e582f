"""The command `pleg`: one file per command, and nothing is imported before it is needed.

Exit codes: 0 done, also when the user stopped it; 1 something stood in the way; 2 the command line makes no sense.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from cri import _entry

# This module imports next to nothing, typing included: until `main` is called, Ctrl-C is a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

#: Each command, where its function is, and what it is for.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("pleg.cli.run:run", "Watch the pods of a container runtime as a kubelet does."),
    "demo": ("pleg.cli.demo:demo", "See polling, relisting, events and hints side by side, then a hung list."),
}


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line, that of this process by default, and return its exit code."""
    try:
        return _main(args)
    except KeyboardInterrupt:
        return _entry.INTERRUPTED


def _main(args: Sequence[str] | None) -> int:
    _entry.hold_standard_files()
    with _entry.quiet_interrupt():
        import typer

        from pleg.cli.errors import CliError
        from pleg.cli.group import command_line

        arguments = list(sys.argv[1:] if args is None else args) or ["--help"]
        # A command that is named first is called without the group around it, whose values cost typer 0.1 s to look at.
        name = arguments.pop(0) if arguments[0] in COMMANDS else None
        command = f"pleg {name}" if name else "pleg"
        commands = command_line(name)
    # Typer brings click under its own name in some versions, but this is click's UsageError in all of them.
    usage_error: Any = typer.BadParameter.__mro__[1]
    try:
        result = commands.main(arguments, prog_name=command, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except CliError as error:
        _complain(command, str(error), error.exit_code)
        return error.exit_code
    except usage_error as error:
        _complain(command, error.format_message().replace("Value error, ", ""), 2)
        return 2
    except typer.Abort:
        return _entry.INTERRUPTED
    except BrokenPipeError:  # somebody read enough of a help text
        _entry.discard_output()
        return 1
    except OSError as error:
        problem = _entry.output_problem(error)
        if problem is None:
            raise
        _entry.discard_output()
        _complain(command, problem, 1)
        return 1
    return result if isinstance(result, int) else 0


def _complain(command: str, message: str, exit_code: int) -> None:
    sentence = message.strip().removesuffix(".")
    hint = f" (see {command} --help)" if exit_code == 2 else ""
    # A reader of stderr that is gone, or a full one, changes nothing of the exit code.
    with suppress(OSError):
        print(f"{command}: {sentence[:1].lower()}{sentence[1:]}{hint}", file=sys.stderr)  # noqa: T201
