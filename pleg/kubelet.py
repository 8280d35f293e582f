"""Puts a node together: one generator, the cache and the channel it writes, and the sync loop that reads them.

A `Kubelet` is not alone in its process: it has no globals; clock, randomness, transport and observers are handed to it.
Defaults are the kubelet's own (pkg/kubelet/kubelet.go, Kubernetes 1.36).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import anyio

from cri.clock import MINUTE, SECOND, Clock
from cri.durations import format_duration
from cri.transport import Transport
from pleg.cache import PodCache
from pleg.channel import DEFAULT_CAPACITY, EventChannel
from pleg.generators.event_stream import EventStream, StreamSettings
from pleg.generators.evented import EventedPleg
from pleg.generators.generic import EventedGate, GenericPleg, RelistSettings
from pleg.generators.hinted import HintWatcher
from pleg.generators.polling import PollingWorkers
from pleg.hooks import Fanout, Hooks
from pleg.node.housekeeping import Housekeeping
from pleg.node.node_status import NodeCondition, NodeStatus
from pleg.node.pod_workers import PodWorkers
from pleg.node.runtime_state import HealthCheck, RuntimeState
from pleg.node.sync_loop import SyncLoop
from pleg.runtime.client import DEFAULT_TIMEOUT, RuntimeClient, StreamLists

Pleg = Literal["generic", "evented", "hinted", "polling"]

#: The four designs, in the order of the years they came in.
PLEGS: tuple[Pleg, ...] = ("polling", "generic", "evented", "hinted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set about a node. All durations are ns; ValueError names the field that makes no sense."""

    #: Which design watches the runtime.
    pleg: Pleg = "generic"
    #: Name of the node, for metrics, conditions and logs.
    node_name: str = "localhost"
    #: generic, hinted, and what evented falls back to (genericPlegRelistPeriod, genericPlegRelistThreshold).
    relist_period: int = SECOND
    relist_threshold: int = 3 * MINUTE
    #: The slow relist behind evented (eventedPlegRelistPeriod, eventedPlegRelistThreshold).
    evented_relist_period: int = 300 * SECOND
    evented_relist_threshold: int = 10 * MINUTE
    #: How often evented declares the whole cache fresh (globalCacheUpdatePeriod).
    cache_tick: int = 5 * SECOND
    #: Ends of the event stream in the life of the process (eventedPlegMaxStreamRetries); None for no limit.
    stream_retries: int | None = 5
    #: First and longest pause between attempts at the stream; the kubelet has none.
    stream_backoff: tuple[int, int] = (0, 0)
    #: Events of the stream held before they are processed.
    stream_buffer: int = 1000
    #: Drop what the buffer cannot hold, rather than let it back up into the runtime as the kubelet does.
    stream_buffer_drops: bool = False
    #: Pod lifecycle events between generator and sync loop (plegChannelCapacity).
    channel_capacity: int = DEFAULT_CAPACITY
    #: Requests for one-pod relists (relistRequests).
    relist_queue: int = 200
    #: Pause of a polling worker (kubelet 1.1).
    poll_period: int = 10 * SECOND
    #: Deadline of each call (runtimeRequestTimeout).
    runtime_request_timeout: int = DEFAULT_TIMEOUT
    #: Whether lists come by the Stream* rpcs (feature gate CRIListStreaming, off in the kubelet).
    stream_lists: StreamLists = "off"

    def __post_init__(self) -> None:
        for field, choices in (("pleg", get_args(Pleg)), ("stream_lists", get_args(StreamLists))):
            if getattr(self, field) not in choices:
                raise ValueError(f"{field} is one of {', '.join(choices)}, not {getattr(self, field)!r}")
        for field in (
            "relist_period",
            "relist_threshold",
            "evented_relist_period",
            "evented_relist_threshold",
            "cache_tick",
            "poll_period",
            "runtime_request_timeout",
        ):
            if getattr(self, field) <= 0:
                raise ValueError(f"{field} must be more than 0s, not {format_duration(getattr(self, field))}")
        for field in ("stream_buffer", "channel_capacity", "relist_queue"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, not {getattr(self, field)}")
        if self.stream_retries is not None and self.stream_retries < 0:
            raise ValueError(f"stream_retries must not be negative, but is {self.stream_retries}")
        first, longest = self.stream_backoff
        if not 0 <= first <= longest:
            raise ValueError("stream_backoff goes from a shorter to a longer pause, as in 1s..60s")
        if self.stream_retries is None and first == 0:
            raise ValueError("stream_retries unlimited needs a stream_backoff, as in 1s..60s, or it would never rest")


class Kubelet:
    """A node that watches one runtime and changes nothing in it."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        settings: Settings | None = None,
        seed: int = 1,
        hooks: Sequence[Hooks] = (),
    ) -> None:
        """Make it inside the running event loop. The same seed gives the same choices."""
        self.settings = settings = settings if settings is not None else Settings()
        self._clock = clock
        self._seed = seed
        self._hooks = Fanout(hooks)
        evented = settings.pleg == "evented"
        self.cache = PodCache(refuse_older=settings.pleg in ("evented", "hinted"))
        self.channel = EventChannel(settings.channel_capacity, self._hooks)
        client = RuntimeClient(
            transport,
            clock,
            self._hooks,
            caller="pleg",
            timeout=settings.runtime_request_timeout,
            stream_lists=settings.stream_lists,
            statuses_from_sandbox=settings.pleg in ("evented", "hinted"),
        )
        self.generic: GenericPleg | None = None
        self.stream: EventStream | None = None
        self._generators: list[EventedPleg | GenericPleg | HintWatcher | PollingWorkers] = []
        health_checks: list[tuple[str, HealthCheck]] = []
        if settings.pleg == "polling":
            self._generators.append(self._polling(client))
        else:
            fast = RelistSettings(settings.relist_period, settings.relist_threshold)
            slow = RelistSettings(settings.evented_relist_period, settings.evented_relist_threshold)
            self.generic = self._generic(client, slow if evented else fast)
            self._generators.append(self.generic)
            health_checks.append(("PLEG", self.generic.healthy))
        if self.generic is not None and settings.pleg in ("evented", "hinted"):
            self.stream = self._event_stream(client.on_behalf_of("event stream"))
            watcher = self._watcher(self.generic, self.stream)
            self._generators.append(watcher)
            if isinstance(watcher, EventedPleg):
                health_checks.append(("EventedPLEG", watcher.healthy))
        self.workers = PodWorkers(self.cache, clock, self._hooks, self._random("workers"))
        self.runtime_state = RuntimeState(client.on_behalf_of("status"), clock, self._hooks, health_checks)
        self.housekeeping = Housekeeping(
            client.on_behalf_of("housekeeping"), self.cache, self.channel, self.workers, clock, self._hooks
        )
        self.sync_loop = SyncLoop(
            self.channel,
            self.cache,
            self.workers,
            self.housekeeping.run_once,
            self.runtime_state.runtime_errors,
            clock,
            self._hooks,
            self._random("sync loop"),
        )
        self.node_status = NodeStatus(
            self._all_errors, clock, self._hooks, self._random("node status"), node_name=settings.node_name
        )

    async def run(self) -> None:
        """Watch the runtime. Until cancelled; a runtime that is not there yet is waited for."""
        async with anyio.create_task_group() as tasks:
            self.workers.start(tasks)
            tasks.start_soon(self.runtime_state.run)
            tasks.start_soon(self.node_status.run)
            for generator in self._generators:
                tasks.start_soon(generator.run)
            tasks.start_soon(self.sync_loop.run)

    def conditions(self) -> list[NodeCondition]:
        """The node's conditions as last posted."""
        return self.node_status.conditions

    def sync_loop_error(self) -> str | None:
        """What the kubelet's syncloop check of /healthz says, or None."""
        return self.sync_loop.health()

    async def suspend(self) -> None:
        """Close the event stream, if there is one, before this process is stopped: its runtime may wait for it."""
        if self.stream is not None:
            await self.stream.suspend()

    def resume(self) -> None:
        """Open the event stream again."""
        if self.stream is not None:
            self.stream.resume()

    # --- parts -----------------------------------------------------------------------------------------------

    def _random(self, part: str) -> random.Random:
        # A generator of its own for each part: a choice more in one does not change the choices of another.
        return random.Random(f"{self._seed}/{part}")

    def _all_errors(self) -> list[str]:
        return self.runtime_state.runtime_errors() + self.runtime_state.network_errors()

    def _generic(self, client: RuntimeClient, settings: RelistSettings) -> GenericPleg:
        gates = {
            "evented": EventedGate(in_use=lambda: self._evented_in_use()),
            "hinted": EventedGate(ignore_refused_write=True),
        }
        return GenericPleg(
            client,
            self.cache,
            self.channel,
            self._clock,
            self._hooks,
            self._random("generic"),
            settings=settings,
            queue_capacity=self.settings.relist_queue,
            gate=gates.get(self.settings.pleg),
        )

    def _evented_in_use(self) -> bool:
        return any(isinstance(part, EventedPleg) and part.in_use for part in self._generators)

    def _polling(self, client: RuntimeClient) -> PollingWorkers:
        return PollingWorkers(
            client,
            self.cache,
            self.channel,
            self._clock,
            self._hooks,
            self._random("polling"),
            period=self.settings.poll_period,
        )

    def _event_stream(self, client: RuntimeClient) -> EventStream:
        settings = self.settings
        return EventStream(
            client,
            self._hooks,
            StreamSettings(
                settings.stream_retries,
                settings.stream_backoff,
                settings.stream_buffer,
                settings.stream_buffer_drops,
            ),
        )

    def _watcher(self, generic: GenericPleg, stream: EventStream) -> EventedPleg | HintWatcher:
        settings = self.settings
        if settings.pleg == "hinted":
            return HintWatcher(generic, stream, self._clock, self._hooks)
        return EventedPleg(
            generic,
            stream,
            self.cache,
            self.channel,
            self._clock,
            self._hooks,
            cache_tick=settings.cache_tick,
            fallback=RelistSettings(settings.relist_period, settings.relist_threshold),
        )
