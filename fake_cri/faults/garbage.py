"""`garbage`: the call is served, and its answer arrives as bytes that no protobuf parser takes."""

from __future__ import annotations

from typing import ClassVar, Final

from fake_cri.faults.base import Call, Fault

#: A tag that never ends: a varint has at most ten bytes.
_BROKEN: Final = b"\xff" * 16


class Garbage(Fault):
    """Corrupts the answer; on a stream a corrupt message comes first."""

    name: ClassVar[str] = "garbage"
    usage: ClassVar[str] = "garbage"

    @classmethod
    def parse(cls, argument: str | None) -> Garbage:
        if argument is not None:
            raise ValueError("garbage takes nothing in brackets")
        return cls()

    def answer(self, call: Call, answer: bytes) -> bytes:
        return _BROKEN + answer

    def opening(self, call: Call) -> bytes | None:
        return _BROKEN + call.rng.randbytes(32)
