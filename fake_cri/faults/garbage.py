"""`garbage`: the call is served, and its answer arrives as bytes that no protobuf parser takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from fake_cri.faults.base import Call, Fault
from fake_cri.faults.text import nothing

#: A tag that never ends: a varint has at most ten bytes.
_BROKEN: Final = b"\xff" * 16


@dataclass(frozen=True)
class Garbage(Fault):
    """Corrupts the answer; on a stream a corrupt message comes first."""

    name: ClassVar[str] = "garbage"
    usage: ClassVar[str] = "garbage"
    summary: ClassVar[str] = "serves the call, and answers bytes that do not parse"

    @classmethod
    def parse(cls, given: Sequence[str]) -> Garbage:
        nothing(cls.name, given)
        return cls()

    def answer(self, call: Call, answer: bytes) -> bytes:
        return _BROKEN + answer

    def opening(self, call: Call) -> bytes | None:
        return _BROKEN + call.rng.randbytes(32)
