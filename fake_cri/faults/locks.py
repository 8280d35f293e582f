"""What held calls wait for: a gate that opens when a fault is taken back, and locks that faults share by name."""

from __future__ import annotations

import anyio

from cri.clock import Clock, seconds


class Gate:
    """Shut until it is released, once and for good."""

    __slots__ = ("_event", "released")

    def __init__(self) -> None:
        self.released = False
        self._event: anyio.Event | None = None

    def release(self) -> None:
        """Whoever waits goes on."""
        self.released = True
        if self._event is not None:
            self._event.set()

    async def wait(self, clock: Clock, until: int | None) -> None:
        """To the release, or to the monotonic ns `until`, whichever is first."""
        if self.released:
            return
        if self._event is None:
            self._event = anyio.Event()
        if until is None:
            await self._event.wait()
            return
        with anyio.move_on_after(seconds(max(0, until - clock.monotonic()))):
            await self._event.wait()


class Locks:
    """The locks of one runtime, by name. A holder that its client gave up holds on, as a stuck handler does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holders: dict[str, list[tuple[Gate, int | None]]] = {}

    def take(self, name: str, gate: Gate, until: int | None) -> None:
        """Hold it to the monotonic ns `until`, None without end; the gate's release ends it before."""
        holders = self._current(name)
        if (gate, until) not in holders:
            holders.append((gate, until))

    def held(self) -> list[str]:
        """The names of those that somebody holds now, sorted."""
        return sorted(name for name in self._holders if self._current(name))

    async def free(self, name: str, own: Gate, until: int | None) -> None:
        """Returns when nobody holds it, or when whoever waits is let go: by its own gate, or at `until`."""
        while (holders := self._current(name)) and not own.released:
            if until is not None and self._clock.monotonic() >= until:
                return
            async with anyio.create_task_group() as tasks:
                for gate, end in ((holders[0][0], holders[0][1]), (own, until)):
                    tasks.start_soon(self._first, gate, end, tasks.cancel_scope)

    async def _first(self, gate: Gate, until: int | None, others: anyio.CancelScope) -> None:
        await gate.wait(self._clock, until)
        others.cancel()

    def _current(self, name: str) -> list[tuple[Gate, int | None]]:
        now = self._clock.monotonic()
        holders = self._holders.setdefault(name, [])
        holders[:] = [(gate, until) for gate, until in holders if not gate.released and (until is None or until > now)]
        return holders
