"""A plan: terms that run left to right, each for its count of calls, its window, or for ever."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from fake_cri.faults.base import Call, Fault, Proceed, ProceedStream
from fake_cri.faults.events import EventFault, Passing
from fake_cri.faults.locks import Gate
from fake_cri.faults.subjects import subject_of
from fake_cri.faults.target import ALWAYS, EVERYTHING, Schedule, Selector


@dataclass(frozen=True, slots=True)
class Term:
    """`fault` for `count` calls; without a count until its window ends, or for ever when it is the last.

    Each call that it covers is struck with `probability`.
    """

    fault: Fault
    count: int | None
    probability: float = 1.0


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What happens to the calls of one rpc. `text` is what it was read from."""

    rpc: str
    terms: tuple[Term, ...]
    text: str = field(compare=False)
    selector: Selector = EVERYTHING
    schedule: Schedule = ALWAYS


class ArmedPlan:
    """A plan in one runtime: it counts the calls that it meets."""

    def __init__(self, plan: FaultPlan, *, now: int) -> None:
        """`now` is the monotonic ns from which its schedule counts."""
        self.plan = plan
        self.calls = 0
        schedule = plan.schedule
        self.begin = now + schedule.begin
        self.end = now + schedule.end if schedule.end is not None else None
        self.gate = Gate()
        self._at = 0
        self._left = plan.terms[0].count if plan.terms else None
        self._turn = 0
        self._window_end: int | None = None

    def release(self) -> None:
        """It acts no more, and what it holds goes on."""
        self.gate.release()

    def next(self, call: Call) -> tuple[Fault | None, Call]:
        """The fault that this call meets, None where it passes, and the call with what the fault needs."""
        selector = self.plan.selector
        if not selector.everything:
            subject = call.subject or subject_of(call.method, call.request, call.lookup)
            if not selector.fits(subject):
                return None, call
        self.calls += 1
        now = call.clock.monotonic()
        if self.gate.released or not self._covers(now):
            return None, call
        term = self._term(now)
        if term is None:
            return None, call
        if self._left is not None:
            self._left -= 1
        if term.probability < 1 and call.rng.random() >= term.probability:
            return None, call
        if self._window_end is None and term.fault.window is not None:
            self._window_end = now + term.fault.window
        ends = [moment for moment in (self._window_end, self.end) if moment is not None]
        met = replace(call, gate=self.gate, window_end=min(ends, default=None), turn=self._turn)
        self._turn += 1
        return term.fault, met

    def _covers(self, now: int) -> bool:
        within = self.begin <= now and (self.end is None or now < self.end)
        return within and self.calls > self.plan.schedule.after

    def _term(self, now: int) -> Term | None:
        """The one in force, past those whose count or window is used up; None past the last."""
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
            return term
        return None

    def _advance(self) -> None:
        self._at += 1
        self._turn = 0
        self._window_end = None
        self._left = self.plan.terms[self._at].count if self._at < len(self.plan.terms) else None

    def deliver(self, call: Call, event: bytes) -> Sequence[Passing]:
        """What arrives of an event."""
        fault, call = self.next(call)
        return fault.deliver(call, event) if isinstance(fault, EventFault) else (Passing(event),)

    async def unary(self, call: Call, proceed: Proceed) -> bytes:
        fault, call = self.next(call)
        return await (proceed() if fault is None else fault.unary(call, proceed))

    async def stream(self, call: Call, proceed: ProceedStream) -> AsyncGenerator[bytes, None]:
        fault, call = self.next(call)
        messages = proceed() if fault is None else fault.stream(call, proceed)
        async with aclosing(messages) as open_messages:
            async for message in open_messages:
                yield message
