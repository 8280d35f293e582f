"""The runtime as a whole: whether it is down, what listens for it, and the incidents that strike it."""

from __future__ import annotations

from typing import Protocol

import anyio
import anyio.abc

from cri.clock import Clock
from fake_cri.events import Events
from fake_cri.faults import ArmedPlan
from fake_cri.faults.incident import Incident
from fake_cri.state import State


class Endpoint(Protocol):
    """What clients reach the runtime by."""

    async def down(self, *, socket: bool) -> None:
        """End every call and stream, and refuse new ones; `socket`: whether the socket file stays."""
        ...

    async def up(self) -> None:
        """Take calls again."""
        ...


class Outage:
    """Whether the runtime is down. Of incidents that overlap the last one to end brings it up."""

    def __init__(self, state: State, events: Events, clock: Clock) -> None:
        self._state = state
        self._events = events
        self._clock = clock
        self._depth = 0
        self._since = 0
        self._lost = False
        self._endpoints: list[Endpoint] = []
        self._waiting: list[ArmedPlan] = []
        self._wake: anyio.Event | None = None

    @property
    def is_down(self) -> bool:
        return self._depth > 0

    def add(self, endpoint: Endpoint) -> None:
        self._endpoints.append(endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        if endpoint in self._endpoints:
            self._endpoints.remove(endpoint)

    async def go_down(self, *, socket: bool) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        self._since, self._lost = self._clock.monotonic(), False
        self._events.close()
        for endpoint in list(self._endpoints):
            await endpoint.down(socket=socket)

    async def come_up(self, *, lose_exits: bool) -> None:
        self._lost |= lose_exits
        self._depth -= 1
        if self._depth:
            return
        if self._lost:
            self._state.forget_exits(self._since)
        self._events.reopen()
        for endpoint in list(self._endpoints):
            await endpoint.up()

    def step_clock(self, by: int) -> None:
        self._clock.step(by)
        self._events.clock_stepped()

    def arm(self, armed: ArmedPlan) -> None:
        """The incident takes place when its time comes, while `run` is under way."""
        self._waiting.append(armed)
        if self._wake is not None:
            self._wake.set()

    async def run(self) -> None:
        """Let incidents happen. Never returns."""
        async with anyio.create_task_group() as tasks:
            while True:
                for armed in self._waiting:
                    tasks.start_soon(self._happen, armed)
                self._waiting.clear()
                self._wake = anyio.Event()
                await self._wake.wait()

    async def _happen(self, armed: ArmedPlan) -> None:
        (term,) = armed.plan.terms
        incident = term.fault
        if not isinstance(incident, Incident):
            raise TypeError(f"{incident.name} is no incident")
        await armed.gate.wait(self._clock, armed.begin)
        if armed.gate.released:
            return
        ends = [] if armed.end is None else [armed.end]
        if incident.duration is not None:
            ends.append(armed.begin + incident.duration)
        await incident.begin(self)
        await armed.gate.wait(self._clock, min(ends, default=None))
        await incident.end(self)
