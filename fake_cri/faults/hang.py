"""`hang(D)`: a window of D in which every call is held to the window's end; `hang`: held until the client gives up."""

from __future__ import annotations

from typing import ClassVar

import anyio

from cri.clock import seconds
from cri.durations import parse_duration
from fake_cri.faults.base import Call, Fault


class Hang(Fault):
    """Holds calls. What was held goes on as if nothing had been."""

    name: ClassVar[str] = "hang"
    usage: ClassVar[str] = "hang(DURATION)"

    def __init__(self, duration: int | None) -> None:
        """`duration` in ns; None: for ever."""
        self._duration = duration

    @property
    def window(self) -> int | None:
        return self._duration

    @classmethod
    def parse(cls, argument: str | None) -> Hang:
        if argument is None:
            return cls(None)
        duration = parse_duration(argument)
        if duration <= 0:
            raise ValueError(f"hang({argument}) needs a duration above 0, as in hang(30s)")
        return cls(duration)

    async def before(self, call: Call) -> None:
        if call.window_end is None:
            await anyio.sleep_forever()
            return
        await anyio.sleep(seconds(max(0, call.window_end - call.clock.monotonic())))
