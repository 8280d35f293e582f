"""`latency(D)`: each call waits D before it is served."""

from __future__ import annotations

from typing import ClassVar

import anyio

from cri.clock import seconds
from cri.durations import parse_duration
from fake_cri.faults.base import Call, Fault


class Latency(Fault):
    """Adds a fixed delay."""

    name: ClassVar[str] = "latency"
    usage: ClassVar[str] = "latency(DURATION)"

    def __init__(self, delay: int) -> None:
        """`delay` in ns."""
        self._delay = delay

    @classmethod
    def parse(cls, argument: str | None) -> Latency:
        delay = parse_duration(argument) if argument is not None else 0
        if delay <= 0:
            raise ValueError("latency needs a duration above 0, as in latency(200ms)")
        return cls(delay)

    async def before(self, call: Call) -> None:
        await anyio.sleep(seconds(self._delay))
