"""One worker per pod: it waits for a status newer than what it last worked on, and takes note of it.

Follows pkg/kubelet/pod_workers.go of Kubernetes 1.36 as far as a worker without a pod spec goes: updates that come
while it works are merged into one; it looks again after the resync interval or, after an error, the back-off period.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import TaskGroup

from cri.clock import MINUTE, SECOND, Clock
from pleg.cache import PodCache
from pleg.hooks import Hooks
from pleg.pods import PodStatus

#: syncFrequency, stretched by up to half of itself.
RESYNC_INTERVAL: Final = MINUTE
#: backOffPeriod after an error, stretched likewise.
BACKOFF_PERIOD: Final = 10 * SECOND
_JITTER: Final = 0.5


@dataclass(slots=True)
class KnownPod:
    """A pod that the node looks after, and what its worker last saw of it."""

    uid: str
    namespace: str
    name: str
    status: PodStatus | None = None
    #: When the last sync ended, Unix ns; 0 before the first.
    last_sync: int = 0
    #: When the pending update was handed over, monotonic ns; None when there is none.
    pending: int | None = None
    wake: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class PodWorkers:
    """The known pods, their workers, and the queue of pods to look at again."""

    def __init__(self, cache: PodCache, clock: Clock, hooks: Hooks, rng: random.Random) -> None:
        self._cache = cache
        self._clock = clock
        self._hooks = hooks
        self._rng = rng
        self._tasks: TaskGroup | None = None
        self._queue: dict[str, int] = {}
        self.pods: dict[str, KnownPod] = {}

    def start(self, tasks: TaskGroup) -> None:
        """Workers run in this task group from now on."""
        self._tasks = tasks

    def update_pod(self, uid: str, namespace: str, name: str) -> None:
        """Hand a pod to its worker, which is started for a new pod."""
        pod = self.pods.get(uid)
        if pod is None:
            assert self._tasks is not None, "start() comes first"
            pod = self.pods[uid] = KnownPod(uid, namespace, name)
            self._tasks.start_soon(self._work, pod, self._clock.monotonic())
        if name and not pod.name:
            pod.namespace, pod.name = namespace, name
        if pod.pending is None:
            pod.pending = self._clock.monotonic()
        pod.wake.set()

    def forget(self, uid: str) -> None:
        """End the worker of a pod that is gone."""
        pod = self.pods.pop(uid, None)
        if pod is not None:
            self._queue.pop(uid, None)
            pod.scope.cancel()

    def due(self) -> list[str]:
        """Take out the pods whose time in the queue has come."""
        now = self._clock.monotonic()
        ready = [uid for uid, when in self._queue.items() if when < now]
        for uid in ready:
            del self._queue[uid]
        return ready

    async def _work(self, pod: KnownPod, seen: int) -> None:
        with pod.scope:
            self._hooks.pod_worker_started(pod.uid, self._clock.monotonic() - seen)
            while True:
                await pod.wake.wait()
                pod.wake = anyio.Event()
                handed_over, pod.pending = pod.pending, None
                if handed_over is None:
                    continue
                status, error = await self._cache.get_newer_than(pod.uid, pod.last_sync)
                if error is not None:
                    self._hooks.log(
                        "E",
                        "pod_workers.go",
                        "Error syncing pod, skipping",
                        err=error,
                        pod=f"{pod.namespace}/{pod.name}",
                        podUID=pod.uid,
                    )
                    self._requeue(pod, BACKOFF_PERIOD)
                else:
                    pod.status = status
                    pod.last_sync = self._clock.now()
                    self._requeue(pod, RESYNC_INTERVAL)
                self._hooks.pod_synced(pod.uid, self._clock.monotonic() - handed_over)

    def _requeue(self, pod: KnownPod, period: int) -> None:
        if self.pods.get(pod.uid) is not pod:
            return  # forgotten while it worked
        self._queue[pod.uid] = self._clock.monotonic() + round(period * (1 + _JITTER * self._rng.random()))
