"""The command fake-cri. This module imports next to nothing: until `main` is called, Ctrl-C is a traceback."""

from __future__ import annotations

import sys
from contextlib import suppress

from cri import _entry


def main() -> None:
    """Entry point of the console script."""
    try:
        _entry.hold_standard_files()
        with _entry.quiet_interrupt():
            from fake_cri.cli.commands import app
        app()
    except KeyboardInterrupt:
        sys.exit(_entry.INTERRUPTED)
    except OSError as error:
        problem = _entry.output_problem(error)
        if problem is None:
            raise
        _entry.discard_output()
        with suppress(OSError):
            print(f"fake-cri: {problem}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
