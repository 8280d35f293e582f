"""Polling: one worker per pod asks the runtime about its own pod, as kubelets did before the PLEG (1.1 and older).

Follows the PLEG design proposal of 2015: about every 10 s per pod, cost in proportion to the pods. New pods are found
by one ListPodSandbox per period, which stands for the API server and is counted apart. There is no relist and no
health check.
"""

from __future__ import annotations

import random
from collections import Counter

import anyio
from anyio.abc import TaskGroup

from cri.clock import SECOND, Clock, seconds
from pleg.cache import PodCache
from pleg.channel import EventChannel
from pleg.generators.ips import with_kept_ips
from pleg.hooks import Hooks
from pleg.lifecycle import compute_events
from pleg.pods import EventType, Pod, PodNotFound
from pleg.runtime.client import RuntimeClient
from pleg.runtime.convert import RUNTIME_ERRORS
from pleg.runtime.inventory import Inventory


class PollingWorkers:
    """Finds pods, and runs a worker for each as long as the runtime has anything of it."""

    def __init__(
        self,
        client: RuntimeClient,
        cache: PodCache,
        channel: EventChannel,
        clock: Clock,
        hooks: Hooks,
        rng: random.Random,
        *,
        period: int = 10 * SECOND,
    ) -> None:
        """`period` is the pause of each worker between two looks at its pod, in ns."""
        self._client = client
        self._discovery = client.on_behalf_of("pod discovery")
        self._cache = cache
        self._channel = channel
        self._clock = clock
        self._hooks = hooks
        self._rng = rng
        self._period = period
        # Each worker's pod as it last saw it; None before its first look.
        self._records: dict[str, Pod | None] = {}

    async def run(self) -> None:
        """Look for new pods each period. Until cancelled."""
        inventory = Inventory()
        async with anyio.create_task_group() as tasks:
            while True:
                await self._discover(inventory, tasks)
                await anyio.sleep(seconds(self._period))

    async def _discover(self, inventory: Inventory, tasks: TaskGroup) -> None:
        try:
            _, listed_at = await self._discovery.list_sandboxes(inventory)
        except RUNTIME_ERRORS as error:
            self._hooks.log("E", "polling", "Unable to list pods", err=error)
            return
        self._cache.update_time(listed_at)
        self._report_running(inventory)
        for uid in sorted(inventory.pods.keys() - self._records.keys()):
            self._records[uid] = None
            tasks.start_soon(self._work, uid, round(self._rng.random() * self._period))

    async def _work(self, uid: str, phase: int) -> None:
        await anyio.sleep(seconds(phase))
        while True:
            try:
                await self._poll(uid)
            except PodNotFound:
                break
            await anyio.sleep(seconds(self._period))
        self._cache.delete(uid)
        self._send(uid, self._records.pop(uid), None)

    async def _poll(self, uid: str) -> None:
        """Look at one pod. A failure is cached and leaves its record as it was."""
        asked_at = self._clock.now()
        try:
            pod = await self._client.get_pod(uid)
            status = await self._client.get_pod_status(pod)
        except RUNTIME_ERRORS as error:
            self._hooks.pod_inspected(uid, error)
            self._hooks.cache_set(uid, self._cache.set(uid, None, error, asked_at))
            return
        self._hooks.pod_inspected(uid, None)
        status = with_kept_ips(self._cache, status)
        self._hooks.cache_set(uid, self._cache.set(uid, status, None, pod.timestamp))
        old, self._records[uid] = self._records[uid], pod
        self._send(uid, old, pod)

    def _report_running(self, inventory: Inventory) -> None:
        """As the workers last saw the containers; no list of this design shows all of them."""
        states = Counter(c.state for pod in self._records.values() if pod is not None for c in pod.containers)
        for state, count in sorted(states.items()):
            self._hooks.running_containers(state, count)
        self._hooks.running_pods(inventory.running_pods)

    def _send(self, uid: str, old: Pod | None, new: Pod | None) -> None:
        for event in compute_events(uid, old, new):
            if event.type is not EventType.CONTAINER_CHANGED and not self._channel.send(event):
                self._hooks.log("E", "polling", "Event channel is full, discarded pod lifecycle event")
