"""Generic PLEG: one relist for all pods, a diff against the last one, an inspection of each pod that changed.

Follows pkg/kubelet/pleg/generic.go of Kubernetes 1.36 (reinspection with PodSync, one-pod relists from a queue).
What upstream does for every pod record in each relist happens here only for pods that can have something to do:
the result is the same, the cost follows the change.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import anyio

from cri.clock import MINUTE, SECOND, Clock, seconds
from cri.durations import format_duration
from pleg.cache import PodCache
from pleg.channel import EventChannel
from pleg.generators.ips import with_kept_ips
from pleg.hooks import Hooks
from pleg.lifecycle import compute_events
from pleg.pods import ContainerStatus, EventType, Pod, PodLifecycleEvent, PodNotFound, PodStatus
from pleg.runtime.client import RuntimeClient
from pleg.runtime.convert import RUNTIME_ERRORS
from pleg.runtime.inventory import Inventory

SOURCE: Final = "generic.go"
_NEVER: Final = 2**63


@dataclass(frozen=True, slots=True)
class RelistSettings:
    """How often to relist, and when to call it late. Both in ns."""

    #: Pause between the end of a relist and the start of the next (genericPlegRelistPeriod).
    period: int = SECOND
    #: A last good relist that started longer ago than this is unhealthy (genericPlegRelistThreshold).
    threshold: int = 3 * MINUTE


@dataclass(frozen=True, slots=True)
class EventedGate:
    """What the feature gate EventedPLEG changes in the generic PLEG."""

    #: Kubernetes 1.26-1.36: cache entries carry the runtime's time while this answers True.
    in_use: Callable[[], bool] = lambda: False
    #: Kubernetes 1.37: a write that the cache refused as older is followed by its events all the same.
    ignore_refused_write: bool = False


class GenericPleg:
    """Writes the cache, sends into the channel, and knows how long its last good relist is ago."""

    def __init__(
        self,
        client: RuntimeClient,
        cache: PodCache,
        channel: EventChannel,
        clock: Clock,
        hooks: Hooks,
        rng: random.Random,
        *,
        settings: RelistSettings | None = None,
        queue_capacity: int = 200,
        gate: EventedGate | None = None,
    ) -> None:
        """`queue_capacity` bounds the requests for one-pod relists (relistRequests); `gate` is None where it is off."""
        self.settings = settings if settings is not None else RelistSettings()
        self._client = client
        self._one_pod_client = client.on_behalf_of("one-pod relist")
        self._cache = cache
        self._channel = channel
        self._clock = clock
        self._hooks = hooks
        self._rng = rng
        self._gate = gate
        self._lock = anyio.Lock()
        self._inventory = Inventory()
        # The pod as it stood when its events were last sent; None for one whose events never were.
        self._records: dict[str, Pod | None] = {}
        # Pods whose record is not what the last list showed: they are compared again at each relist.
        self._unsettled: set[str] = set()
        self._reinspect: set[str] = set()
        self._requests: deque[tuple[str, int]] = deque()
        self._queue_capacity = queue_capacity
        self._wake = anyio.Event()
        self._due = clock.monotonic()
        self._relist_time: int | None = None
        self._relist_monotonic = 0

    # --- what others ask of it -------------------------------------------------------------------------------

    def healthy(self) -> str | None:
        """Why the PLEG is not healthy, or None. Asks nothing of the runtime, and reports last_seen."""
        if self._relist_time is None:
            return "pleg has yet to be successful"
        self._hooks.last_seen(self._relist_time // SECOND)
        elapsed = self._clock.monotonic() - self._relist_monotonic
        threshold = self.settings.threshold
        if elapsed > threshold:
            return (
                f"pleg was last seen active {format_duration(elapsed)} ago; threshold is {format_duration(threshold)}"
            )
        return None

    @property
    def relist_time(self) -> int | None:
        """Start of the last relist whose lists succeeded, Unix ns."""
        return self._relist_time

    def request_reinspect(self, uid: str) -> None:
        """Have a pod inspected at the next relist even if nothing changed; that sends a PodSync."""
        self._reinspect.add(uid)

    def request_relist(self, uid: str) -> None:
        """Ask for a relist of one pod as soon as the worker is free. A full queue drops the request."""
        if len(self._requests) >= self._queue_capacity:
            self._hooks.log("E", SOURCE, "Relist request channel full; dropping relist request", podUID=uid)
            return
        self._requests.append((uid, self._clock.now()))
        self._wake.set()

    def restart(self, settings: RelistSettings) -> None:
        """Go on with other settings and relist at once, as upstream's Stop, Update and Start do."""
        self.settings = settings
        self._due = self._clock.monotonic()
        self._wake.set()

    # --- the worker ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Relist, pause for the period, and so on; serve requests for single pods in between. Until cancelled."""
        self._due = self._clock.monotonic()
        while True:
            pause = self._due - self._clock.monotonic()
            if pause <= 0:
                self._due = _NEVER
                await self.relist()
                # The smaller one, for restart() may have asked for another relist meanwhile.
                self._due = min(self._due, self._clock.monotonic() + self.settings.period)
            elif self._requests:
                await self._serve(*self._requests.popleft())
            else:
                with anyio.move_on_after(seconds(pause)):
                    await self._wake.wait()
                self._wake = anyio.Event()

    async def _serve(self, uid: str, requested: int) -> None:
        if self._relist_time is not None and requested <= self._relist_time:
            return  # the global relist has looked at this pod since
        error: Exception | None = None
        async with self._lock:
            begin = self._clock.monotonic()
            try:
                pod = await self._one_pod_client.get_pod(uid)
            except (*RUNTIME_ERRORS, PodNotFound) as caught:
                error = caught
                self._hooks.log("E", SOURCE, "GenericPLEG: Unable to retrieve pod", podUID=uid, err=caught)
            else:
                # The next global relist must compare this pod even if its own two lists agree.
                self._unsettled.add(uid)
                self._records.setdefault(uid, None)
                await self._reconcile(uid, pod)
                self._cache.set_observed_time(uid, pod.timestamp)
        self._hooks.pod_relist_ended(uid, self._clock.monotonic() - begin, error)

    async def relist(self) -> None:
        """List everything, reconcile what changed. A list that fails is logged and changes nothing else."""
        async with self._lock:
            begin = self._clock.monotonic()
            interval = None if self._relist_time is None else begin - self._relist_monotonic
            self._hooks.relist_started(interval)
            error: Exception | None = None
            try:
                error = await self._relist(begin)
            finally:
                self._hooks.relist_ended(self._clock.monotonic() - begin, error)

    async def _relist(self, begin: int) -> Exception | None:
        start = self._clock.now()
        try:
            changed, listed_at = await self._client.list_pods(self._inventory)
        except RUNTIME_ERRORS as error:
            self._hooks.log("E", SOURCE, "GenericPLEG: Unable to retrieve pods", err=error)
            return error
        # Only now does this relist count, though by its start: inspections that hang do not take that back.
        self._relist_time, self._relist_monotonic = start, begin
        self._report_running()
        pods = self._inventory.pods
        for uid in changed:
            if uid in pods:
                self._records.setdefault(uid, None)
        todo = sorted(uid for uid in changed | self._unsettled | self._reinspect if uid in self._records)
        self._unsettled.clear()
        self._rng.shuffle(todo)  # upstream iterates a map
        for uid in todo:
            pod = pods.get(uid)
            await self._reconcile(uid, None if pod is None else replace(pod, timestamp=listed_at))
            if uid in self._records and self._records[uid] is not pods.get(uid):
                self._settle(uid)
        self._cache.update_time(start)
        return None

    def _settle(self, uid: str) -> None:
        """Keep comparing a pod unless its record has the states that were listed."""
        listed = self._inventory.pods.get(uid)
        if compute_events(uid, self._records[uid], listed):
            self._unsettled.add(uid)
        elif listed is not None and self._records[uid] is not None:
            self._records[uid] = listed

    def _report_running(self) -> None:
        # States that are not present keep their last value, as the kubelet's gauge does (k#98644).
        for state, count in sorted(self._inventory.container_states.items()):
            self._hooks.running_containers(state, count)
        self._hooks.running_pods(self._inventory.running_pods)

    # --- one pod ---------------------------------------------------------------------------------------------

    async def _reconcile(self, uid: str, pod: Pod | None) -> None:
        old = self._records.get(uid)
        events = compute_events(uid, old, pod)
        reinspect = uid in self._reinspect
        self._reinspect.discard(uid)
        if not events and not reinspect:
            if old is None and pod is None:
                self._records.pop(uid, None)
            return
        try:
            status, accepted = await self._update_cache(uid, pod)
        except RUNTIME_ERRORS as error:
            self._hooks.log("I", SOURCE, "PLEG: Ignoring events for pod", v=4, pod=_name(pod, uid), err=error)
            self._reinspect.add(uid)
            return
        if not accepted and not (self._gate is not None and self._gate.ignore_refused_write):
            return
        if reinspect and not events:
            events = [PodLifecycleEvent(uid, EventType.POD_SYNC)]
        if pod is None:
            self._records.pop(uid, None)
        else:
            self._records[uid] = pod
        self._send(events, status)

    async def _update_cache(self, uid: str, pod: Pod | None) -> tuple[PodStatus | None, bool]:
        """Inspect a pod and cache what came out, an error too. Whether the cache took it; raises that error."""
        if pod is None:
            self._hooks.log("I", SOURCE, "PLEG: Delete status for pod", v=4, podUID=uid)
            self._cache.delete(uid)
            return None, True
        timestamp = pod.timestamp
        try:
            status = await self._client.get_pod_status(pod)
        except RUNTIME_ERRORS as error:
            self._hooks.pod_inspected(uid, error)
            self._hooks.log("E", SOURCE, "PLEG: Write status", pod=_name(pod, uid), err=error)
            accepted = self._cache.set(uid, None, error, timestamp)
            self._hooks.cache_set(uid, accepted)
            raise
        self._hooks.pod_inspected(uid, None)
        status = with_kept_ips(self._cache, status)
        if self._gate is not None and self._gate.in_use():
            timestamp = status.timestamp
        accepted = self._cache.set(uid, status, None, timestamp)
        self._hooks.cache_set(uid, accepted)
        self._hooks.log("I", SOURCE, "PLEG: Write status", v=4, pod=_name(pod, uid))
        return status, accepted

    def _send(self, events: list[PodLifecycleEvent], status: PodStatus | None) -> None:
        statuses: dict[str, ContainerStatus] | None = None
        for event in events:
            if event.type is EventType.CONTAINER_CHANGED:
                continue
            if not self._channel.send(event):
                self._hooks.log("E", SOURCE, "Event channel is full, discard this relist() cycle event")
            if event.type is EventType.CONTAINER_DIED and status is not None:
                if statuses is None:
                    statuses = {container.id: container for container in status.containers}
                died = statuses.get(event.data or "")
                if died is not None:
                    self._hooks.log(
                        "I",
                        SOURCE,
                        "Generic (PLEG): container finished",
                        v=2,
                        podID=event.uid,
                        containerID=died.id,
                        exitCode=died.exit_code,
                    )


def _name(pod: Pod | None, uid: str) -> str:
    return f"{pod.namespace}/{pod.name}" if pod is not None and pod.name else uid
