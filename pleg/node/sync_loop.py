"""The sync loop: it reads events and wakes the pods' workers, and reads nothing while the runtime has errors.

Follows `syncLoop` and `syncLoopIteration` of pkg/kubelet/kubelet.go, Kubernetes 1.36: one source per turn, chosen at
random among those that are ready; housekeeping runs on the loop itself, so that its hung lists hold the loop.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from cri.clock import MILLISECOND, MINUTE, SECOND, Clock, seconds
from pleg.cache import PodCache
from pleg.channel import EventChannel
from pleg.hooks import Hooks
from pleg.node.pod_workers import PodWorkers
from pleg.node.runtime_state import aggregate
from pleg.node.ticker import Ticker
from pleg.pods import EventType

SOURCE: Final = "kubelet.go"

_FIRST_PAUSE: Final = 100 * MILLISECOND
_LONGEST_PAUSE: Final = 5 * SECOND
_SYNC_PERIOD: Final = 1 * SECOND
HOUSEKEEPING_PERIOD: Final = 2 * SECOND
#: A loop that was not entered for this long fails /healthz: max(2 x resync, 5 min).
_HEALTHY_ENTRY: Final = 5 * MINUTE


class SyncLoop:
    """Reads the channel and two tickers, one per turn."""

    def __init__(
        self,
        channel: EventChannel,
        cache: PodCache,
        workers: PodWorkers,
        housekeeping: Callable[[], Awaitable[None]],
        runtime_errors: Callable[[], list[str]],
        clock: Clock,
        hooks: Hooks,
        rng: random.Random,
    ) -> None:
        self._channel = channel
        self._cache = cache
        self._workers = workers
        self._housekeeping = housekeeping
        self._runtime_errors = runtime_errors
        self._clock = clock
        self._hooks = hooks
        self._rng = rng
        self._wake = anyio.Event()
        self._entered: int | None = None
        self._sync_ticker: Ticker
        self._housekeeping_ticker: Ticker

    def health(self) -> str | None:
        """What /healthz says of the loop: it should have been entered within the last five minutes."""
        entered = self._entered
        if entered is not None and self._clock.monotonic() - entered > _HEALTHY_ENTRY:
            return "sync Loop took longer than expected"
        return None

    async def run(self) -> None:
        """Turn after turn. Until cancelled."""
        self._channel.on_send = self._on_send
        self._sync_ticker = Ticker(self._clock, _SYNC_PERIOD)
        self._housekeeping_ticker = Ticker(self._clock, HOUSEKEEPING_PERIOD)
        self._hooks.log("I", SOURCE, "Starting kubelet main sync loop", v=0)
        pause = _FIRST_PAUSE
        while True:
            errors = self._runtime_errors()
            if errors:
                text = aggregate(errors)
                self._hooks.log("E", SOURCE, "Skipping pod synchronization", err=text)
                self._hooks.sync_skipped(text, pause)
                await anyio.sleep(seconds(pause))
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            self._entered = self._clock.monotonic()
            await self._iterate()
            self._entered = self._clock.monotonic()

    def _on_send(self) -> None:
        self._wake.set()

    async def _iterate(self) -> None:
        ready = self._ready()
        while not ready:
            next_tick = min(self._sync_ticker.next, self._housekeeping_ticker.next)
            with anyio.move_on_after(seconds(max(0, next_tick - self._clock.monotonic()))):
                await self._wake.wait()
            self._wake = anyio.Event()
            ready = self._ready()
        await self._rng.choice(ready)()

    def _ready(self) -> list[Callable[[], Awaitable[None]]]:
        ready: list[Callable[[], Awaitable[None]]] = []
        if len(self._channel):
            ready.append(self._handle_event)
        if self._sync_ticker.ready():
            ready.append(self._handle_sync)
        if self._housekeeping_ticker.ready():
            ready.append(self._handle_housekeeping)
        return ready

    async def _handle_event(self) -> None:
        event = self._channel.receive()
        assert event is not None
        namespace, name = self._name(event.uid)
        self._hooks.event_read(event, namespace, name)
        if event.type is EventType.CONTAINER_REMOVED:
            # Removed wakes no worker; it is when a pod that the cache no longer holds is forgotten.
            if event.uid not in self._cache:
                self._workers.forget(event.uid)
            return
        self._hooks.log(
            "I",
            SOURCE,
            "SyncLoop (PLEG): event for pod",
            v=2,
            pod=f"{namespace}/{name}",
            event={"ID": event.uid, "Type": event.type.value, "Data": event.data},
        )
        self._workers.update_pod(event.uid, namespace, name)

    def _name(self, uid: str) -> tuple[str, str]:
        known = self._workers.pods.get(uid)
        if known is not None and known.name:
            return known.namespace, known.name
        status, _ = self._cache.get(uid)
        return ("", "") if status is None else (status.namespace, status.name)

    async def _handle_sync(self) -> None:
        self._sync_ticker.take()
        for uid in self._workers.due():
            pod = self._workers.pods[uid]
            self._workers.update_pod(uid, pod.namespace, pod.name)

    async def _handle_housekeeping(self) -> None:
        self._housekeeping_ticker.take()
        await self._housekeeping()
