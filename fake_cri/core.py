"""What the rpc handlers share: the state, the catalogue, the events, the clock, and the sources of chance."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import anyio

from cri.clock import Clock, seconds
from fake_cri import behaviour
from fake_cri.events import Events
from fake_cri.exits import Exits
from fake_cri.images import Catalogue
from fake_cri.logs import Logs
from fake_cri.objects import Container
from fake_cri.profiles import Profile
from fake_cri.state import SIGKILL_EXIT, State

#: A parsed request in, a serialized answer out. The message types differ by rpc, and the table joins the two.
Handler = Callable[[Any], Awaitable[bytes]]
StreamHandler = Callable[[Any], AsyncGenerator[bytes, None]]


@dataclass(frozen=True, slots=True)
class _End:
    """When, in monotonic ns, a container that is being stopped ends, and whether by its stop signal or by SIGKILL."""

    at: int
    number: int
    container: Container
    exit_code: int
    heeds: bool


@dataclass(frozen=True, slots=True)
class Core:
    """One runtime's parts."""

    profile: Profile
    clock: Clock
    state: State
    catalogue: Catalogue
    events: Events
    exits: Exits
    logs: Logs
    chance: Random

    async def stop(self, containers: Sequence[Container], *, grace: int) -> None:
        """End those that run: by their stop signal, and by SIGKILL after `grace` ns, at once when that is 0.

        Returns when all have ended. When cancelled, those that heed the signal end all the same: it was sent.
        """
        now = self.clock.monotonic()
        ends: list[_End] = []
        for number, container in enumerate(containers):
            if not container.running:
                continue
            if not container.ends_at:  # a second stop sends no second signal
                container.ends_at = now + behaviour.reaction(container, self.chance)
            heeds = grace > 0 and container.ends_at <= now + grace
            code = behaviour.stop_exit_code(container) if heeds else SIGKILL_EXIT
            ends.append(
                _End(max(now, container.ends_at) if heeds else now + max(0, grace), number, container, code, heeds)
            )
        ends.sort(key=lambda end: (end.at, end.number))
        try:
            while ends:
                delay = ends[0].at - self.clock.monotonic()
                if delay > 0:
                    await anyio.sleep(seconds(delay))
                    continue
                end = ends.pop(0)
                self.state.end_container(end.container, end.exit_code)
        finally:
            for end in ends:
                if end.heeds:
                    self.state.end_container(end.container, end.exit_code)
