"""What both commands do around their work, so that nothing a terminal or shell does to them ends in a traceback."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: The exit code of a command that Ctrl-C ended.
INTERRUPTED = 130

#: How writing to standard output fails: full, broken, or not open for writing.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


@contextmanager
def quiet_interrupt(exit_code: int = INTERRUPTED) -> Iterator[None]:
    """Ctrl-C ends the process at once and without a word while the block, which imports, runs.

    A KeyboardInterrupt would not do: importlib's own callbacks swallow it, and print its traceback.
    """
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not so where it is ignored: nohup, tests
    try:
        if default:
            signal.signal(signal.SIGINT, lambda *_: os._exit(exit_code))
    except ValueError:  # not the main thread: signals are not ours
        default = False
    try:
        yield
    finally:
        if default:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def hold_standard_files() -> None:
    """Where descriptors 0 to 2 were closed, put /dev/null: else a socket would get their number, and others' output.

    sys.stdout stays None then, by which commands know it; sys.stderr becomes a file, for many ask it questions.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives


def output_problem(error: OSError) -> str | None:
    """What to say of an error that came from writing to standard output, or None for any other error."""
    if error.filename is not None or error.errno not in _UNWRITABLE:
        return None
    return f"cannot write to standard output: {error.strerror}"


def discard_output() -> None:
    """What standard output did not take must not fail again when Python flushes at its end."""
    with suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
