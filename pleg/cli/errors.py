"""What a command ends with when it cannot do what it was asked: one sentence on stderr, and an exit code."""

from __future__ import annotations


class CliError(Exception):
    """Something outside stands in the way: exit code 1. The text says what, where, and what to do next."""

    exit_code = 1


class UsageError(CliError):
    """The command line makes no sense: exit code 2."""

    exit_code = 2
