"""`oversized`: the call is served, and its answer is valid but larger than a kubelet accepts: 17 MiB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from fake_cri.entries import varint
from fake_cri.faults.base import Call, Fault
from fake_cri.faults.text import nothing

_SIZE: Final = 17 * 1024 * 1024
_UNKNOWN_FIELD: Final = varint(15_000 << 3 | 2)  # a parser keeps or skips what it does not know


@dataclass(frozen=True)
class Oversized(Fault):
    """Pads the answer to 17 MiB by a field that no message has; on a stream such a message comes first."""

    name: ClassVar[str] = "oversized"
    usage: ClassVar[str] = "oversized"
    summary: ClassVar[str] = "serves the call, and answers 17 MiB, more than a kubelet accepts"

    @classmethod
    def parse(cls, given: Sequence[str]) -> Oversized:
        nothing(cls.name, given)
        return cls()

    def answer(self, call: Call, answer: bytes) -> bytes:
        padding = max(0, _SIZE - len(answer) - len(_UNKNOWN_FIELD) - len(varint(_SIZE)))
        return answer + _UNKNOWN_FIELD + varint(padding) + bytes(padding)

    def opening(self, call: Call) -> bytes | None:
        return self.answer(call, b"")
