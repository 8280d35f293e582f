"""`hold(NAME)` and `lock(NAME)`: one call sits on a lock, and every call that needs it waits.

So one dead container blocks the list: its own status call holds the lock that ListContainers takes for each container.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from cri.durations import format_duration, parse_duration
from fake_cri.faults.base import Call, Fault

_NAME: Final = re.compile(r"\w[\w.-]*", re.ASCII)


def _lock_name(fault: str, given: Sequence[str]) -> str:
    if not given or _NAME.fullmatch(given[0]) is None:
        raise ValueError(f"{fault} needs a lock's name of letters, digits and . _ -, as in {fault}(dead)")
    return given[0]


@dataclass(frozen=True)
class Hold(Fault):
    """Takes the lock and keeps it, for `duration` ns from its first call on, or until the fault is released.

    A client that gives up does not free it.
    """

    name: ClassVar[str] = "hold"
    usage: ClassVar[str] = "hold(NAME,DURATION)"
    summary: ClassVar[str] = "hangs, and meanwhile holds the lock NAME; hold(NAME) until the fault is removed"

    lock: str
    duration: int | None = None

    @property
    def window(self) -> int | None:
        return self.duration

    @classmethod
    def parse(cls, given: Sequence[str]) -> Hold:
        name = _lock_name(cls.name, given)
        duration = parse_duration(given[1]) if len(given) > 1 else None
        if len(given) > 2 or (duration is not None and duration <= 0):
            raise ValueError("hold takes a lock's name and a duration above 0, as in hold(dead,30s)")
        return cls(name, duration)

    @property
    def arguments(self) -> tuple[str, ...]:
        return (self.lock,) if self.duration is None else (self.lock, format_duration(self.duration))

    async def before(self, call: Call) -> None:
        call.locks.take(self.lock, call.gate, call.window_end)
        await call.gate.wait(call.clock, call.window_end)


@dataclass(frozen=True)
class Lock(Fault):
    """Waits while anybody holds the lock."""

    name: ClassVar[str] = "lock"
    usage: ClassVar[str] = "lock(NAME)"
    summary: ClassVar[str] = "the call needs the lock NAME: it waits while another fault holds it"

    lock: str

    @classmethod
    def parse(cls, given: Sequence[str]) -> Lock:
        name = _lock_name(cls.name, given)
        if len(given) > 1:
            raise ValueError("lock takes a lock's name alone, as in lock(dead)")
        return cls(name)

    @property
    def arguments(self) -> tuple[str, ...]:
        return (self.lock,)

    async def before(self, call: Call) -> None:
        await call.locks.free(self.lock, call.gate, call.window_end)
