"""`cut(N)`: a list cut short: it ends well after N entries, as if there were no more."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar

from cri.methods import Method
from fake_cri.faults.base import Call, Fault, ProceedStream


@dataclass(frozen=True)
class Cut(Fault):
    """Keeps the first `entries` of a list, unary or streamed."""

    name: ClassVar[str] = "cut"
    usage: ClassVar[str] = "cut(N)"
    summary: ClassVar[str] = "serves the list, and leaves out all but its first N entries"

    entries: int

    @classmethod
    def parse(cls, given: Sequence[str]) -> Cut:
        if len(given) != 1 or not (given[0].isascii() and given[0].isdecimal()):
            raise ValueError("cut needs a number of entries to keep, as in cut(10)")
        return cls(int(given[0]))

    @property
    def arguments(self) -> tuple[str, ...]:
        return (str(self.entries),)

    def check(self, method: Method) -> None:
        if "filter" not in method.request.DESCRIPTOR.fields_by_name or not _lists(method):
            raise ValueError(f"cut has no meaning for {method}: it is no list")

    def answer(self, call: Call, answer: bytes) -> bytes:
        return _kept(call.method, answer, self.entries)[0]

    async def stream(self, call: Call, proceed: ProceedStream) -> AsyncGenerator[bytes, None]:
        left = self.entries
        async with aclosing(proceed()) as messages:
            async for message in messages:
                kept, count = _kept(call.method, message, left)
                left -= count
                if count:
                    yield kept


def _lists(method: Method) -> bool:
    return method.name.startswith(("List", "Stream"))


def _kept(method: Method, answer: bytes, limit: int) -> tuple[bytes, int]:
    """The answer with at most `limit` entries, and how many it has."""
    message: Any = method.response.FromString(answer)
    (field,) = message.DESCRIPTOR.fields
    entries = getattr(message, field.name)
    del entries[limit:]
    return message.SerializeToString(deterministic=True), len(entries)
