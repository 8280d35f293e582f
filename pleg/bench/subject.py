"""The PLEG as a measured process: `python -m pleg.bench.subject SETTINGS`. It watches a runtime over gRPC."""

from __future__ import annotations

import resource
import time
from collections import Counter
from typing import Any

import anyio

from cri.clock import Clock
from pleg.bench.child import answer, settings
from pleg.hooks import Hooks
from pleg.kubelet import Kubelet, Pleg, Settings
from pleg.observe.agreement import cache_states
from pleg.pods import Call, ContainerEvent, PodLifecycleEvent
from pleg.runtime.grpc_transport import GrpcTransport


class Recorder(Hooks):
    """Keeps what a report needs, and nothing that costs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.sightings: list[tuple[int, str, str]] = []
        self.stream: list[tuple[int, str, int]] = []
        self.dropped: list[tuple[int, str, int]] = []
        self.refused: set[str] = set()
        self.relists: list[tuple[int, int]] = []
        self.calls: Counter[str] = Counter()
        self.received = 0
        self.discarded = 0
        self._relist_started = 0

    def event_read(self, event: PodLifecycleEvent, namespace: str, name: str) -> None:
        if event.data is not None:
            self.sightings.append((self._clock.now(), event.data, event.type.value))

    def container_event_received(self, event: ContainerEvent) -> None:
        events = self.stream if event.status is not None else self.dropped
        events.append((self._clock.now(), event.container_id, int(event.type)))

    def cache_set(self, uid: str, accepted: bool) -> None:
        if not accepted:
            self.refused.add(uid)

    def relist_started(self, interval: int | None) -> None:
        self._relist_started = self._clock.now()

    def relist_ended(self, duration: int, error: Exception | None) -> None:
        self.relists.append((self._relist_started, self._clock.now()))

    def call_ended(
        self, call: Call, duration: int, error: Exception | None, sent: int, received: int, items: int
    ) -> None:
        self.calls[f"{call.caller}/{call.rpc}"] += 1
        self.received += received

    def event_discarded(self, event: PodLifecycleEvent) -> None:
        self.discarded += 1


async def main(endpoint: str, pleg: Pleg, seed: int) -> None:
    """Watch from the start on; `mark` at both ends of a window, `relist` and `cache` at will, `finish` at last."""
    clock = Clock.real()
    recorder = Recorder(clock)
    transport = GrpcTransport(endpoint)
    kubelet = Kubelet(transport, clock, settings=Settings(pleg=pleg), seed=seed, hooks=[recorder])

    async def mark() -> dict[str, Any]:
        return {
            "cpu": time.process_time_ns(),
            "now": clock.now(),
            "calls": dict(recorder.calls),
            "received": recorder.received,
            "stream": len(recorder.stream) + len(recorder.dropped),
        }

    async def relist() -> None:
        assert kubelet.generic is not None
        await kubelet.generic.relist()

    async def cache() -> dict[str, Any]:
        return {"states": cache_states(kubelet.cache.entries()), "unread": len(kubelet.channel)}

    async def finish() -> dict[str, Any]:
        return {
            "sightings": recorder.sightings,
            "stream": recorder.stream,
            "dropped": recorder.dropped,
            "refused": sorted(recorder.refused),
            "relists": recorder.relists,
            "discarded": recorder.discarded,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kubelet.run)
        await answer({"mark": mark, "relist": relist, "cache": cache, "finish": finish})
        tasks.cancel_scope.cancel()
    await transport.aclose()


if __name__ == "__main__":
    wanted = settings()
    anyio.run(lambda: main(**wanted))
