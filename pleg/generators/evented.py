"""Evented PLEG: an event of the runtime writes the cache itself, a slow relist runs behind it.

Follows pkg/kubelet/pleg/evented.go of Kubernetes 1.36 (the design of 1.26-1.36), its known weaknesses included: the
runtime's time decides between two writers, a tick declares the whole cache fresh every 5 s, health fakes last_seen,
and five ends of the stream in the life of the process end it for good.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import anyio

from cri.clock import SECOND, Clock, seconds
from pleg.cache import PodCache
from pleg.channel import EventChannel
from pleg.generators.event_stream import EventStream
from pleg.generators.generic import GenericPleg, RelistSettings
from pleg.generators.ips import with_kept_ips
from pleg.hooks import Hooks, skip_panic
from pleg.pods import (
    ContainerEvent,
    ContainerEventType,
    ContainerState,
    EventType,
    PodLifecycleEvent,
    PodStatus,
)

SOURCE: Final = "evented.go"

_SENT_WHEN_SET: Final[dict[int, tuple[EventType, ...]]] = {
    ContainerEventType.CREATED: (),
    ContainerEventType.STARTED: (EventType.CONTAINER_STARTED,),
    ContainerEventType.STOPPED: (EventType.CONTAINER_DIED,),
}
_SENT_WHEN_DELETED: Final = (EventType.CONTAINER_DIED, EventType.CONTAINER_REMOVED)


class EventedPleg:
    """Runs beside a generic PLEG, into the same cache and channel, until it gives up."""

    def __init__(
        self,
        generic: GenericPleg,
        stream: EventStream,
        cache: PodCache,
        channel: EventChannel,
        clock: Clock,
        hooks: Hooks,
        *,
        cache_tick: int = 5 * SECOND,
        fallback: RelistSettings | None = None,
    ) -> None:
        """`cache_tick` (globalCacheUpdatePeriod) is in ns; `fallback` is what generic goes on with afterwards."""
        self.in_use = False
        self._generic = generic
        self._stream = stream
        self._cache = cache
        self._channel = channel
        self._clock = clock
        self._hooks = hooks
        self._cache_tick = cache_tick
        self._fallback = fallback if fallback is not None else RelistSettings()

    def healthy(self) -> str | None:
        """Unhealthy only while the event channel is full. Else it says that the PLEG was last seen just now."""
        if self._channel.full:
            return f"EventedPLEG: pleg event channel capacity is full with {len(self._channel)} events"
        self._hooks.last_seen(self._clock.now() // SECOND)
        return None

    async def run(self) -> None:
        """Follow the stream and tick the cache's global time, until the attempts are used up."""
        self.in_use = True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tick)

            def relist_beside() -> None:
                tasks.start_soon(self._generic.relist)

            await self._stream.run(self._process, self._on_end, relist_beside)
            self.in_use = False
            # V(4) upstream, where hardly anybody sees it; shown here, for it is what this bench is about.
            self._hooks.log("I", SOURCE, "Fall back to Generic PLEG relisting since Evented PLEG is not working")
            self._generic.restart(self._fallback)

    async def _on_end(self, error: Exception) -> None:
        await self._generic.relist()
        self._hooks.log("I", SOURCE, "Evented PLEG: Failed to get container events, retrying: ", v=4, err=error)

    async def _tick(self) -> None:
        next_tick = self._clock.monotonic()
        while self.in_use:
            self._cache.update_time(self._clock.now())
            next_tick += self._cache_tick
            await anyio.sleep(seconds(max(0, next_tick - self._clock.monotonic())))

    def _process(self, event: ContainerEvent, status: PodStatus) -> None:
        if event.nil_image:
            skip_panic(self._hooks, SOURCE, "nil Image in a container's status")
            return
        uid = status.uid
        status = with_kept_ips(self._cache, status)
        self._update_gauges(status)
        self._hooks.container_event_latency(self._clock.now() - event.created_at)
        if event.type is ContainerEventType.DELETED:
            if event.container_id == event.sandbox_id:
                self._cache.delete(uid)
            self._send(uid, event.container_id, _SENT_WHEN_DELETED)
            return
        accepted = self._cache.set(uid, status, None, event.created_at)
        self._hooks.cache_set(uid, accepted)
        if accepted:
            self._send(uid, event.container_id, _SENT_WHEN_SET.get(event.type, ()))

    def _send(self, uid: str, container_id: str, types: tuple[EventType, ...]) -> None:
        for type_ in types:
            if not self._channel.send(PodLifecycleEvent(uid, type_, container_id)):
                self._hooks.log("E", SOURCE, "Evented PLEG: Event channel is full, discarded pod lifecycle event")

    # --- gauges: by difference from the cached status (3.6 of the kubelet's facts) ------------------------------

    def _update_gauges(self, status: PodStatus) -> None:
        cached, _ = self._cache.get(status.uid)
        if cached is None:
            # Upstream dereferences the nil status of a failed inspection here, and panics (k#128654).
            skip_panic(self._hooks, SOURCE, "nil PodStatus in the cache")
            return
        known = bool(cached.sandboxes)
        change = _sandbox_is_listed_running(status) - (known and _sandbox_is_listed_running(cached))
        if change:
            self._hooks.running_pods(change, relative=True)
        before: Counter[ContainerState] = Counter(c.state for c in cached.containers) if known else Counter()
        after = Counter(c.state for c in status.containers)
        for state in sorted(before.keys() | after.keys()):
            self._hooks.running_containers(state, after[state] - before[state], relative=True)


def _sandbox_is_listed_running(status: PodStatus) -> bool:
    """Whether a *container* with the sandbox's id is running; no runtime lists one, so hardly ever."""
    if not status.sandboxes:
        return False
    sandbox_id = status.sandboxes[0].id
    return any(c.id == sandbox_id and c.state is ContainerState.RUNNING for c in status.containers)
