"""Housekeeping: every 2 s, on the sync loop itself, the kubelet lists what runs, whatever its PLEG does.

Follows `HandlePodCleanups` of pkg/kubelet/kubelet_pods.go and the housekeeping turn of `syncLoopIteration`.
"""

from __future__ import annotations

from typing import Final

from cri.clock import MILLISECOND, SECOND, Clock
from cri.durations import format_duration
from pleg.cache import PodCache
from pleg.channel import EventChannel
from pleg.hooks import Hooks
from pleg.node.pod_workers import PodWorkers
from pleg.runtime.client import RuntimeClient
from pleg.runtime.convert import RUNTIME_ERRORS
from pleg.runtime.inventory import Inventory

SOURCE: Final = "kubelet.go"
#: housekeepingWarningDuration.
WARNING_DURATION: Final = SECOND


class Housekeeping:
    """Lists READY sandboxes and RUNNING containers: what runs becomes known, what is gone is forgotten."""

    def __init__(
        self,
        client: RuntimeClient,
        cache: PodCache,
        channel: EventChannel,
        workers: PodWorkers,
        clock: Clock,
        hooks: Hooks,
    ) -> None:
        self._client = client
        self._cache = cache
        self._channel = channel
        self._workers = workers
        self._clock = clock
        self._hooks = hooks
        self._running = Inventory()

    async def run_once(self) -> None:
        """One turn. Failures are logged, and the next turn tries again."""
        begin = self._clock.monotonic()
        try:
            await self._client.list_pods(self._running, running_only=True)
        except RUNTIME_ERRORS as error:
            self._hooks.log("E", SOURCE, "Failed cleaning pods", err=error)
        else:
            self._clean_up()
        duration = self._clock.monotonic() - begin
        if duration > WARNING_DURATION:
            actual = round(duration / MILLISECOND) * MILLISECOND
            self._hooks.log(
                "E",
                SOURCE,
                "Housekeeping took longer than expected",
                err="housekeeping took too long",
                expected=format_duration(WARNING_DURATION),
                actual=format_duration(actual),
            )

    def _clean_up(self) -> None:
        running = self._running.pods
        for uid in sorted(running.keys() - self._workers.pods.keys()):
            self._workers.update_pod(uid, running[uid].namespace, running[uid].name)
        if len(self._channel):
            return  # what is on its way may still be about pods that are gone
        for uid in sorted(self._workers.pods.keys() - running.keys()):
            if uid not in self._cache:  # its Removed was discarded, or it never had one
                self._workers.forget(uid)
