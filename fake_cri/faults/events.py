"""Faults of single events on their way to a subscriber, written for `Event` in the place of an rpc.

    Event[pod=default/web-0]: 3*drop->off

Counts, selectors, spans and probabilities are of events; an event counts once for each stream that it goes to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from cri.clock import MILLISECOND, SECOND
from cri.durations import format_duration, parse_duration
from cri.methods import Method
from cri.v1 import api_pb2 as pb
from fake_cri.faults.base import Call, Fault
from fake_cri.faults.text import nothing

#: What stands for every event in the place of an rpc.
EVENT: Final = "Event"


@dataclass(frozen=True, slots=True)
class Passing:
    """An event that goes on: `delay` ns later, behind those before it unless it is not `ordered`."""

    event: bytes
    delay: int = 0
    ordered: bool = True


class EventFault(Fault):
    """A fault of an event, and of no call."""

    def check(self, method: Method) -> None:
        raise ValueError(f"{self.name} happens to single events, not to {method}: write it for {EVENT}")

    def deliver(self, call: Call, event: bytes) -> Sequence[Passing]:
        """What arrives in the event's place."""
        return (Passing(event),)


def _positive(name: str, given: Sequence[str]) -> int:
    value = parse_duration(given[0]) if len(given) == 1 else 0
    if value <= 0:
        raise ValueError(f"{name} needs a duration above 0, as in {name}(2s)")
    return value


@dataclass(frozen=True)
class Drop(EventFault):
    """Lost without a word."""

    name: ClassVar[str] = "drop"
    usage: ClassVar[str] = "drop"
    summary: ClassVar[str] = "the event is lost without a word"

    @classmethod
    def parse(cls, given: Sequence[str]) -> Drop:
        nothing(cls.name, given)
        return cls()

    def deliver(self, call: Call, event: bytes) -> Sequence[Passing]:
        return ()


@dataclass(frozen=True)
class Duplicate(EventFault):
    """Arrives `times` times."""

    name: ClassVar[str] = "duplicate"
    usage: ClassVar[str] = "duplicate"
    summary: ClassVar[str] = "the event arrives twice; duplicate(N): N times"

    times: int = 2

    @classmethod
    def parse(cls, given: Sequence[str]) -> Duplicate:
        if not given:
            return cls()
        if len(given) != 1 or not (given[0].isascii() and given[0].isdecimal()) or not 2 <= int(given[0]) <= 1000:
            raise ValueError("duplicate takes a number from 2 to 1000, as in duplicate(3)")
        return cls(int(given[0]))

    @property
    def arguments(self) -> tuple[str, ...]:
        return () if self.times == 2 else (str(self.times),)

    def deliver(self, call: Call, event: bytes) -> Sequence[Passing]:
        return (Passing(event),) * self.times


@dataclass(frozen=True)
class Delay(EventFault):
    """Arrives `by` ns late, and those behind it not before it."""

    name: ClassVar[str] = "delay"
    usage: ClassVar[str] = "delay(DURATION)"
    summary: ClassVar[str] = "the event arrives late, and none overtakes it"

    by: int

    @classmethod
    def parse(cls, given: Sequence[str]) -> Delay:
        return cls(_positive(cls.name, given))

    @property
    def arguments(self) -> tuple[str, ...]:
        return (format_duration(self.by),)

    def deliver(self, call: Call, event: bytes) -> Sequence[Passing]:
        return (Passing(event, self.by),)


@dataclass(frozen=True)
class Reorder(EventFault):
    """Arrives `by` ns late; whatever comes meanwhile overtakes it."""

    name: ClassVar[str] = "reorder"
    usage: ClassVar[str] = "reorder(DURATION)"
    summary: ClassVar[str] = "the event arrives late, and those behind it overtake it"

    by: int

    @classmethod
    def parse(cls, given: Sequence[str]) -> Reorder:
        return cls(_positive(cls.name, given))

    @property
    def arguments(self) -> tuple[str, ...]:
        return (format_duration(self.by),)

    def deliver(self, call: Call, event: bytes) -> Sequence[Passing]:
        return (Passing(event, self.by, ordered=False),)


@dataclass(frozen=True)
class Burst(EventFault):
    """The first event opens a window; all events of it arrive together at its end."""

    name: ClassVar[str] = "burst"
    usage: ClassVar[str] = "burst(DURATION)"
    summary: ClassVar[str] = "all events of a window that the first one opens arrive together at its end"

    span: int

    @property
    def window(self) -> int | None:
        return self.span

    @classmethod
    def parse(cls, given: Sequence[str]) -> Burst:
        return cls(_positive(cls.name, given))

    @property
    def arguments(self) -> tuple[str, ...]:
        return (format_duration(self.span),)

    def deliver(self, call: Call, event: bytes) -> Sequence[Passing]:
        end = call.window_end if call.window_end is not None else call.clock.monotonic() + self.span
        return (Passing(event, max(0, end - call.clock.monotonic())),)


@dataclass(frozen=True)
class NoSandbox(EventFault):
    """Carries no sandbox status, as containerd 1.7's DELETED of a sandbox."""

    name: ClassVar[str] = "no_sandbox"
    usage: ClassVar[str] = "no_sandbox"
    summary: ClassVar[str] = "the event carries no sandbox status"

    @classmethod
    def parse(cls, given: Sequence[str]) -> NoSandbox:
        nothing(cls.name, given)
        return cls()

    def deliver(self, call: Call, event: bytes) -> Sequence[Passing]:
        message = pb.ContainerEventResponse.FromString(event)
        message.ClearField("pod_sandbox_status")
        return (Passing(message.SerializeToString(deterministic=True)),)


@dataclass(frozen=True)
class NoStatuses(EventFault):
    """Carries no container's status."""

    name: ClassVar[str] = "no_statuses"
    usage: ClassVar[str] = "no_statuses"
    summary: ClassVar[str] = "the event carries no container statuses"

    @classmethod
    def parse(cls, given: Sequence[str]) -> NoStatuses:
        nothing(cls.name, given)
        return cls()

    def deliver(self, call: Call, event: bytes) -> Sequence[Passing]:
        message = pb.ContainerEventResponse.FromString(event)
        message.ClearField("containers_statuses")
        return (Passing(message.SerializeToString(deterministic=True)),)


_UNITS: Final = {"seconds": SECOND, "milliseconds": MILLISECOND}


@dataclass(frozen=True)
class CreatedAt(EventFault):
    """Dates the event in a wrong unit, or `by` ns off."""

    name: ClassVar[str] = "created_at"
    usage: ClassVar[str] = "created_at(seconds|DURATION)"
    summary: ClassVar[str] = "the event's time is in seconds or milliseconds, or off by a duration such as 1h or -5s"

    unit: str = ""
    by: int = 0

    @classmethod
    def parse(cls, given: Sequence[str]) -> CreatedAt:
        if len(given) == 1 and given[0] in _UNITS:
            return cls(unit=given[0])
        by = parse_duration(given[0]) if len(given) == 1 else 0
        if by == 0:
            raise ValueError("created_at needs seconds, milliseconds or a duration, as in created_at(1h)")
        return cls(by=by)

    @property
    def arguments(self) -> tuple[str, ...]:
        return (self.unit or format_duration(self.by),)

    def deliver(self, call: Call, event: bytes) -> Sequence[Passing]:
        message = pb.ContainerEventResponse.FromString(event)
        message.created_at = message.created_at // _UNITS.get(self.unit, 1) + self.by
        return (Passing(message.SerializeToString(deterministic=True)),)
