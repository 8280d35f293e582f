"""An asyncio event loop whose time jumps to the next timer, so that minutes pass in milliseconds.

Nothing in it waits for the outside: no threads, no sockets. When nothing is ready and nothing is scheduled, the run
could only hang, and `NothingScheduled` is raised instead.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

import anyio

from cri.clock import SECOND, VIRTUAL_EPOCH, Clock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class NothingScheduled(RuntimeError):
    """Every task waits for another one: in real time this run would hang for ever."""


class _JumpingSelector(selectors.BaseSelector):
    """Takes the loop's wish to sleep for `timeout` and advances the time by that much."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._inner = selectors.SelectSelector()  # only holds the loop's own wake-up pipe

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingScheduled("nothing is ready and nothing is scheduled in virtual time")
        if timeout > 0:
            self.now_ns += max(1, round(timeout * SECOND))
        return []

    def close(self) -> None:
        self._inner.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s and counts in integer nanoseconds.

    Timers are floats of seconds: they go off to the nanosecond for the first 24 days, after that to a few.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        # What is due within half a nanosecond is due now: floats differ in the last bit, timers by a nanosecond.
        self._clock_resolution = 0.5e-9

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if when == math.inf:  # anyio.sleep_forever: what never goes off must not keep time going
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    def time(self) -> float:
        return self._jumping.now_ns / SECOND

    def time_ns(self) -> int:
        """Virtual nanoseconds since the loop was made."""
        return self._jumping.now_ns


def virtual_clock(*, wall_base: int = VIRTUAL_EPOCH) -> Clock:
    """The clock of the running virtual loop; `wall_base` is its Unix time at this moment, in ns."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):
        raise TypeError("a virtual clock needs a VirtualTimeLoop: start the run with run_virtual()")
    return Clock(loop.time_ns, wall_base=wall_base)


def run_virtual(main: Callable[..., Awaitable[T]], *args: object) -> T:
    """Run `main(*args)` to its end in virtual time and return what it returns."""
    return anyio.run(main, *args, backend="asyncio", backend_options={"loop_factory": VirtualTimeLoop})
