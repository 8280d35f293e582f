"""Incidents: what happens to the runtime as a whole, written for `Runtime` in the place of an rpc.

    Runtime @10s: restart(5s)

An incident begins at its span's begin. It ends when its own time is over, at its span's end, or when it is removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from cri.durations import format_duration, parse_duration
from cri.methods import Method
from fake_cri.faults.base import Fault
from fake_cri.faults.text import nothing

#: What stands for the whole runtime in the place of an rpc.
RUNTIME: Final = "Runtime"


class Victim(Protocol):
    """The runtime as an incident sees it."""

    async def go_down(self, *, socket: bool) -> None:
        """It answers nobody; `socket`: whether its socket file stays."""
        ...

    async def come_up(self, *, lose_exits: bool) -> None:
        """It answers again; `lose_exits`: exit codes of what ended meanwhile are unknown."""
        ...

    def step_clock(self, by: int) -> None:
        """Its wall clock jumps by so many ns."""
        ...


class Incident(Fault):
    """A fault of the runtime, and of no call."""

    @property
    def duration(self) -> int | None:
        """How long it lasts of itself, in ns; None: to the end of its span."""
        return None

    def check(self, method: Method) -> None:
        raise ValueError(f"{self.name} happens to the runtime, not to {method}: write it for {RUNTIME}")

    async def begin(self, victim: Victim) -> None:
        """What happens first."""

    async def end(self, victim: Victim) -> None:
        """What ends it."""


@dataclass(frozen=True)
class Restart(Incident):
    """Down for `down` ns. What ends meanwhile sends no event, and keeps its exit code unless that is lost."""

    name: ClassVar[str] = "restart"
    usage: ClassVar[str] = "restart(DURATION[,lost])"
    summary: ClassVar[str] = "down for that time; lost: exits meanwhile read 255 and Unknown"

    down: int
    lost: bool = False

    @classmethod
    def parse(cls, given: Sequence[str]) -> Restart:
        down = parse_duration(given[0]) if given else 0
        if down <= 0 or list(given[1:]) not in ([], ["lost"]):
            raise ValueError("restart takes how long it is down, and perhaps the word lost, as in restart(5s,lost)")
        return cls(down, len(given) == 2)

    @property
    def arguments(self) -> tuple[str, ...]:
        return (format_duration(self.down), "lost") if self.lost else (format_duration(self.down),)

    @property
    def duration(self) -> int | None:
        return self.down

    async def begin(self, victim: Victim) -> None:
        await victim.go_down(socket=True)

    async def end(self, victim: Victim) -> None:
        await victim.come_up(lose_exits=self.lost)


@dataclass(frozen=True)
class Crash(Incident):
    """Killed: its socket stays behind and refuses connections; what ended meanwhile has lost its exit code."""

    name: ClassVar[str] = "crash"
    usage: ClassVar[str] = "crash"
    summary: ClassVar[str] = "dead to the end of the span: connections are refused; exits meanwhile are lost"

    @classmethod
    def parse(cls, given: Sequence[str]) -> Crash:
        nothing(cls.name, given)
        return cls()

    async def begin(self, victim: Victim) -> None:
        await victim.go_down(socket=True)

    async def end(self, victim: Victim) -> None:
        await victim.come_up(lose_exits=True)


@dataclass(frozen=True)
class SocketGone(Incident):
    """Its socket is missing, and with it every connection."""

    name: ClassVar[str] = "socket_gone"
    usage: ClassVar[str] = "socket_gone"
    summary: ClassVar[str] = "no socket to the end of the span: there is no such file"

    @classmethod
    def parse(cls, given: Sequence[str]) -> SocketGone:
        nothing(cls.name, given)
        return cls()

    async def begin(self, victim: Victim) -> None:
        await victim.go_down(socket=False)

    async def end(self, victim: Victim) -> None:
        await victim.come_up(lose_exits=False)


@dataclass(frozen=True)
class ClockStep(Incident):
    """The runtime's wall clock jumps, and jumps back when the incident ends."""

    name: ClassVar[str] = "clock_step"
    usage: ClassVar[str] = "clock_step(DURATION)"
    summary: ClassVar[str] = "the runtime's clock jumps by that, also -5s, and back at the end of the span"

    by: int

    @classmethod
    def parse(cls, given: Sequence[str]) -> ClockStep:
        by = parse_duration(given[0]) if len(given) == 1 else 0
        if by == 0:
            raise ValueError("clock_step needs a duration other than 0, as in clock_step(-5s)")
        return cls(by)

    @property
    def arguments(self) -> tuple[str, ...]:
        return (format_duration(self.by),)

    async def begin(self, victim: Victim) -> None:
        victim.step_clock(self.by)

    async def end(self, victim: Victim) -> None:
        victim.step_clock(-self.by)
