"""Which calls of an rpc a fault strikes: those about chosen pods or containers, in a span of time, from a number on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fake_cri.faults.subjects import Subject

#: The keys of a selector, in the order in which they are written.
KEYS: Final = ("pod", "container", "uid", "id")


@dataclass(frozen=True, slots=True)
class Selector:
    """All that is given must fit. `pod` is NAMESPACE/NAME or NAME, `id` the beginning of a container's or sandbox's."""

    pod: str | None = None
    container: str | None = None
    uid: str | None = None
    id: str | None = None

    @property
    def everything(self) -> bool:
        return self == EVERYTHING

    def pairs(self) -> dict[str, str]:
        """What is given, by key."""
        given = {key: getattr(self, key) for key in KEYS}
        return {key: value for key, value in given.items() if value is not None}

    def fits(self, subject: Subject) -> bool:
        if self.pod is not None:
            namespace, slash, name = self.pod.rpartition("/")
            if subject.pod != name or (slash and subject.namespace != namespace):
                return False
        if self.container is not None and subject.container != self.container:
            return False
        if self.uid is not None and subject.uid != self.uid:
            return False
        return self.id is None or any(known.startswith(self.id) for known in subject.ids)


EVERYTHING: Final = Selector()


@dataclass(frozen=True, slots=True)
class Schedule:
    """From and until when, in ns since the fault was put into effect, and after how many calls of those it fits."""

    begin: int = 0
    end: int | None = None
    after: int = 0


ALWAYS: Final = Schedule()
