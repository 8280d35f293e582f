"""`hang(D)`: a window of D in which every call is held to its end; `hang`: until the fault is removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cri.durations import format_duration, parse_duration
from fake_cri.faults.base import Call, Fault
from fake_cri.faults.text import written


@dataclass(frozen=True)
class Hang(Fault):
    """Holds calls. What was held goes on as if nothing had been. Without a `duration` (ns) until it is released."""

    name: ClassVar[str] = "hang"
    usage: ClassVar[str] = "hang(DURATION)"
    summary: ClassVar[str] = "holds every call to the end of a window; hang alone until the fault is removed"

    duration: int | None

    @property
    def window(self) -> int | None:
        return self.duration

    @classmethod
    def parse(cls, given: Sequence[str]) -> Hang:
        if not given:
            return cls(None)
        duration = parse_duration(given[0])
        if duration <= 0 or len(given) > 1:
            raise ValueError(f"{written('hang', given)} needs a duration above 0, as in hang(30s)")
        return cls(duration)

    @property
    def arguments(self) -> tuple[str, ...]:
        return () if self.duration is None else (format_duration(self.duration),)

    async def before(self, call: Call) -> None:
        await call.gate.wait(call.clock, call.window_end)
