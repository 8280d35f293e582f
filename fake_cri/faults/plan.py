"""A plan: terms that run left to right, each for its count of calls, its window, or for ever."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from fake_cri.faults.base import Call, Fault, Proceed, ProceedStream


@dataclass(frozen=True, slots=True)
class Term:
    """`fault` for `count` calls; without a count until its window ends, or for ever when it is the last."""

    fault: Fault
    count: int | None


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What happens to the calls of one rpc. `text` is what it was read from."""

    rpc: str
    terms: tuple[Term, ...]
    text: str


class ArmedPlan:
    """A plan in one runtime: it counts the calls that it meets."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.calls = 0
        self._at = 0
        self._left = plan.terms[0].count if plan.terms else None
        self._window_end: int | None = None

    def next(self, call: Call) -> tuple[Fault | None, Call]:
        """The fault that this call meets, None past the end of the plan, and the call with the fault's window."""
        self.calls += 1
        now = call.clock.monotonic()
        while self._at < len(self.plan.terms):
            term = self.plan.terms[self._at]
            last = self._at + 1 == len(self.plan.terms)
            if self._left == 0:
                self._advance()
                continue
            if self._window_end is not None and now >= self._window_end:
                self._window_end = None
                if term.count is None and not last:
                    self._advance()
                    continue
            if self._window_end is None and term.fault.window is not None:
                self._window_end = now + term.fault.window
            if self._left is not None:
                self._left -= 1
            return term.fault, replace(call, window_end=self._window_end)
        return None, call

    def _advance(self) -> None:
        self._at += 1
        self._window_end = None
        self._left = self.plan.terms[self._at].count if self._at < len(self.plan.terms) else None

    async def unary(self, call: Call, proceed: Proceed) -> bytes:
        fault, call = self.next(call)
        return await (proceed() if fault is None else fault.unary(call, proceed))

    async def stream(self, call: Call, proceed: ProceedStream) -> AsyncGenerator[bytes, None]:
        fault, call = self.next(call)
        messages = proceed() if fault is None else fault.stream(call, proceed)
        async with aclosing(messages) as open_messages:
            async for message in open_messages:
                yield message
