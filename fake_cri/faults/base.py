"""What a fault is: something that stands around a call and may act before it, in its place, or on its answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

from cri.clock import Clock
from cri.methods import Method
from fake_cri.faults.locks import Gate, Locks
from fake_cri.faults.subjects import Lookup, Subject

#: Goes on with the call: to the next fault, in the end to the handler.
Proceed = Callable[[], Awaitable[bytes]]
ProceedStream = Callable[[], AsyncGenerator[bytes, None]]


@dataclass(frozen=True, slots=True)
class Call:
    """One call as a fault sees it.

    `window_end` is the monotonic ns at which the window of the term that it met closes, None without a window.
    `turn` counts from 0 the calls that met this term before it. `gate` opens when the fault is taken back.
    `subject` is whom it is about where that is known without its request.
    """

    method: Method
    request: bytes
    clock: Clock
    rng: Random
    lookup: Lookup
    locks: Locks
    gate: Gate = field(default_factory=Gate)
    window_end: int | None = None
    turn: int = 0
    subject: Subject | None = None


class Fault:
    """Does nothing; kinds of faults override what they need. Objects are immutable and shared by calls."""

    #: The word that stands for it in the syntax.
    name: ClassVar[str]

    @property
    def arguments(self) -> tuple[str, ...]:
        """What stands in its brackets, so that reading it again gives an equal fault."""
        return ()

    @property
    def window(self) -> int | None:
        """For how long, in ns from the first call on, it holds when no count says so; None: it has no end."""
        return None

    def check(self, method: Method) -> None:
        """Raises ValueError, with a sentence fit for a user, where it makes no sense for that rpc."""

    async def before(self, call: Call) -> None:
        """May wait, or end the call by a CriError."""

    def answer(self, call: Call, answer: bytes) -> bytes:
        """May change the answer on its way out."""
        return answer

    def opening(self, call: Call) -> bytes | None:
        """A message to put at the head of a stream."""
        return None

    def message(self, call: Call, message: bytes) -> bytes:
        """May change each message of a stream."""
        return message

    async def unary(self, call: Call, proceed: Proceed) -> bytes:
        """Around a unary call."""
        await self.before(call)
        return self.answer(call, await proceed())

    async def stream(self, call: Call, proceed: ProceedStream) -> AsyncGenerator[bytes, None]:
        """Around a server stream: it acts when the stream is opened."""
        await self.before(call)
        first = self.opening(call)
        if first is not None:
            yield first
        async with aclosing(proceed()) as messages:
            async for message in messages:
                yield self.message(call, message)
