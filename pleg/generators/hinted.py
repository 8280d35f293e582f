"""Hinted PLEG: generic alone lists, writes and sends; a stop event asks it for a relist of that one pod.

Follows pkg/kubelet/pleg/evented.go of Kubernetes 1.37.2 (k#139262), where the evented PLEG became a mere watcher. Lost,
late, doubled or disordered events cost at most one period; but five ends of the stream end the hints for good.
"""

from __future__ import annotations

from typing import Final

from cri.clock import Clock
from pleg.generators.event_stream import EventStream
from pleg.generators.generic import GenericPleg
from pleg.hooks import Hooks
from pleg.pods import ContainerEvent, ContainerEventType, PodStatus

SOURCE: Final = "evented.go"


class HintWatcher:
    """Turns STOPPED events into requests for one-pod relists, and forgets all others."""

    def __init__(self, generic: GenericPleg, stream: EventStream, clock: Clock, hooks: Hooks) -> None:
        self._generic = generic
        self._stream = stream
        self._clock = clock
        self._hooks = hooks
        self._last_error: Exception | None = None

    async def run(self) -> None:
        """Follow the stream until the attempts are used up; then the hints are off, and nothing else changes.

        What is still in the buffer then is worked off, as upstream's consumer does.
        """
        await self._stream.run(self._process, self._on_end)
        self._hooks.log(
            "E",
            SOURCE,
            "Evented PLEG: disabling container-termination fast path after exhausting event stream retries",
            err=self._last_error,
            retries=self._stream.attempts,
        )

    async def _on_end(self, error: Exception) -> None:
        self._last_error = error
        self._hooks.log("I", SOURCE, "Evented PLEG: failed to get container events, retrying", v=4, err=error)

    def _process(self, event: ContainerEvent, status: PodStatus) -> None:
        self._hooks.container_event_latency(self._clock.now() - event.created_at)
        if event.type is ContainerEventType.STOPPED:
            self._generic.request_relist(status.uid)
            self._hooks.log(
                "I",
                SOURCE,
                "Evented PLEG: requested pod relist after container termination",
                v=4,
                podUID=status.uid,
                containerID=event.container_id,
                eventType=str(event.type),
            )
