"""Go's time.Ticker for a loop that looks at it: ticks at a fixed rate, and those that nobody took are dropped."""

from __future__ import annotations

from cri.clock import Clock


class Ticker:
    """Ready once per period; at most one tick is kept."""

    def __init__(self, clock: Clock, period: int) -> None:
        """`period` is in ns; the first tick comes one period from now."""
        self._clock = clock
        self._period = period
        self._next = clock.monotonic() + period

    @property
    def next(self) -> int:
        """Monotonic ns of the tick that is or will be ready."""
        return self._next

    def ready(self) -> bool:
        return self._clock.monotonic() >= self._next

    def take(self) -> None:
        """Use up the tick; the next one keeps to the old rate."""
        late = self._clock.monotonic() - self._next
        self._next += self._period * (late // self._period + 1)
