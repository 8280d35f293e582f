"""Time as integer nanoseconds: a monotonic reading, and a wall time that is a fixed base plus that reading.

A `Clock` is handed to whoever needs the time, so that a whole node can run in virtual time and two clocks can differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

NANOSECOND: Final = 1
MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE

#: Wall time at which virtual runs begin: 2026-01-01T00:00:00Z.
VIRTUAL_EPOCH: Final = 1_767_225_600 * SECOND


class Clock:
    """Reads `monotonic()` and `now()` (Unix), both in ns. Steps of the system's wall clock do not reach it."""

    __slots__ = ("_monotonic", "_offset")

    def __init__(self, monotonic: Callable[[], int], *, wall_base: int) -> None:
        """`wall_base` is the Unix time, in ns, of this very moment."""
        self._monotonic = monotonic
        self._offset = wall_base - monotonic()

    @classmethod
    def real(cls) -> Clock:
        """The machine's clock."""
        return cls(time.monotonic_ns, wall_base=time.time_ns())

    def shifted(self, by: int) -> Clock:
        """One that reads `by` ns later in wall time, and can be stepped without moving this one."""
        clock = Clock(self._monotonic, wall_base=0)
        clock._offset = self._offset + by  # exactly: time passes between two readings
        return clock

    def ahead_of(self, other: Clock) -> int:
        """How many ns this one's wall time is ahead of that of another one with the same monotonic time."""
        return self._offset - other._offset

    def step(self, by: int) -> None:
        """Wall time jumps by `by` ns; monotonic time goes on."""
        self._offset += by

    def monotonic(self) -> int:
        """Nanoseconds since some fixed point; only differences mean anything."""
        return self._monotonic()

    def now(self) -> int:
        """Unix time in nanoseconds."""
        return self._monotonic() + self._offset


def seconds(nanoseconds: int) -> float:
    """For anyio's waits, and for metrics, which count in seconds."""
    return nanoseconds / SECOND


def rfc3339(unix_ns: int) -> str:
    """`2026-01-01T00:00:00.000000001Z`: always nine decimals, so that text sorts as time does."""
    whole, nanos = divmod(unix_ns, SECOND)
    try:
        text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, ValueError, OSError):  # a runtime may answer any int64
        return f"{unix_ns}ns"
    return f"{text}.{nanos:09d}Z"
