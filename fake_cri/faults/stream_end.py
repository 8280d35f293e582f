"""`end(D)` and `reset(D)`: a stream ends some time after it was opened, in good order or by a broken connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import anyio

from cri.clock import seconds
from cri.durations import format_duration, parse_duration
from cri.methods import Method
from cri.transport import Code, CriError
from fake_cri.faults.base import Call, Fault, ProceedStream

E = TypeVar("E", bound="End")


@dataclass(frozen=True)
class End(Fault):
    """The stream ends with OK `after` ns, at once when that is 0."""

    name: ClassVar[str] = "end"
    usage: ClassVar[str] = "end(DURATION)"
    summary: ClassVar[str] = "the stream ends with OK after that time; end alone at once"

    after: int = 0

    @classmethod
    def parse(cls: type[E], given: Sequence[str]) -> E:
        after = parse_duration(given[0]) if given else 0
        if after < 0 or len(given) > 1:
            raise ValueError(f"{cls.name} takes a duration, as in {cls.name}(30s)")
        return cls(after)

    @property
    def arguments(self) -> tuple[str, ...]:
        return (format_duration(self.after),) if self.after else ()

    def check(self, method: Method) -> None:
        if not method.streams:
            raise ValueError(f"{self.name} has no meaning for {method}: it is no stream")

    async def stream(self, call: Call, proceed: ProceedStream) -> AsyncGenerator[bytes, None]:
        end = call.clock.monotonic() + self.after
        async with aclosing(proceed()) as messages:
            while (left := end - call.clock.monotonic()) > 0:
                message: bytes | None = None
                with anyio.move_on_after(seconds(left)):
                    message = await anext(messages, None)
                    if message is None:
                        return
                if message is not None:
                    yield message
        self.finish()

    def finish(self) -> None:
        """How it ends."""


@dataclass(frozen=True)
class Reset(End):
    """The stream breaks with UNAVAILABLE."""

    name: ClassVar[str] = "reset"
    usage: ClassVar[str] = "reset(DURATION)"
    summary: ClassVar[str] = "the stream breaks with UNAVAILABLE after that time; reset alone at once"

    def finish(self) -> None:
        raise CriError(Code.UNAVAILABLE, "error reading from server: EOF")
