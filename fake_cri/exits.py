"""Processes that end by themselves: a client's containers with the annotation fake-cri/exit-after.

They all wait in one heap and one task ends them, so that the same clock gives the same exits on every event loop.
"""

from __future__ import annotations

import heapq
import math

import anyio

from cri.clock import Clock, seconds
from fake_cri import behaviour
from fake_cri.objects import Container
from fake_cri.state import State


class Exits:
    """Ends containers when their time has come, unless they were stopped or removed before it."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._due: list[
            tuple[int, int, Container]
        ] = []  # when, in monotonic ns; a number that keeps their order; which
        self._sequence = 0
        self._wake: anyio.Event | None = None

    def started(self, container: Container) -> None:
        """A container runs from now on."""
        after = behaviour.exit_after(container)
        if after is None or not container.running:
            return
        self._sequence += 1
        heapq.heappush(self._due, (self._clock.monotonic() + after, self._sequence, container))
        if self._wake is not None:
            self._wake.set()

    async def run(self) -> None:
        """End them, until cancelled."""
        while True:
            now = self._clock.monotonic()
            while self._due and self._due[0][0] <= now:
                _, _, container = heapq.heappop(self._due)
                if container.running and not container.ends_at:  # from its stop signal on, only that ends it
                    self._state.end_container(container, behaviour.exit_code(container))
            self._wake = anyio.Event()
            with anyio.move_on_after(seconds(self._due[0][0] - now) if self._due else math.inf):
                await self._wake.wait()
