"""`truncated`: the call is served, and about half of its answer's bytes arrive: what is left does not parse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from google.protobuf.message import DecodeError

from fake_cri.faults.base import Call, Fault
from fake_cri.faults.text import nothing

#: Of an empty answer: the tag of a field that never comes.
_LONE_TAG: Final = b"\x0a"


@dataclass(frozen=True)
class Truncated(Fault):
    """Breaks the answer off; of a stream each message."""

    name: ClassVar[str] = "truncated"
    usage: ClassVar[str] = "truncated"
    summary: ClassVar[str] = "serves the call, and breaks its answer off in the middle"

    @classmethod
    def parse(cls, given: Sequence[str]) -> Truncated:
        nothing(cls.name, given)
        return cls()

    def answer(self, call: Call, answer: bytes) -> bytes:
        for length in range(len(answer) // 2, 0, -1):
            part = answer[:length]
            try:
                call.method.response.FromString(part)  # the middle may lie between two fields
            except DecodeError:
                return part
        return _LONE_TAG

    def message(self, call: Call, message: bytes) -> bytes:
        return self.answer(call, message)
