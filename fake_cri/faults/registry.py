"""All kinds of faults by the word that stands for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final, Protocol

from fake_cri.faults.base import Fault
from fake_cri.faults.cut import Cut
from fake_cri.faults.error import Error
from fake_cri.faults.events import Burst, CreatedAt, Delay, Drop, Duplicate, NoSandbox, NoStatuses, Reorder
from fake_cri.faults.garbage import Garbage
from fake_cri.faults.hang import Hang
from fake_cri.faults.incident import ClockStep, Crash, Restart, SocketGone
from fake_cri.faults.latency import Latency
from fake_cri.faults.lock import Hold, Lock
from fake_cri.faults.not_found import NotFound
from fake_cri.faults.not_ready import NotReady
from fake_cri.faults.off import Off
from fake_cri.faults.oversized import Oversized
from fake_cri.faults.stream_end import End, Reset
from fake_cri.faults.truncated import Truncated
from fake_cri.faults.unset import Unset


class Kind(Protocol):
    """What the syntax needs of a fault class."""

    name: ClassVar[str]
    usage: ClassVar[str]
    summary: ClassVar[str]

    @classmethod
    def parse(cls, given: Sequence[str]) -> Fault:
        """From what stands in brackets, one by one. Raises ValueError with a sentence fit for a user."""
        ...


_KINDS: Final[tuple[type[Kind], ...]] = (
    Off,
    Error,
    Hang,
    Latency,
    Garbage,
    Oversized,
    NotFound,
    Unset,
    Truncated,
    Cut,
    Hold,
    Lock,
    NotReady,
    End,
    Reset,
    Drop,
    Duplicate,
    Delay,
    Reorder,
    Burst,
    NoSandbox,
    NoStatuses,
    CreatedAt,
    Restart,
    Crash,
    SocketGone,
    ClockStep,
)

FAULTS: Final[Mapping[str, type[Kind]]] = MappingProxyType({kind.name: kind for kind in _KINDS})
