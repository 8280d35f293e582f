"""Whether the runtime can be worked with: the errors that stop the sync loop and turn the node NotReady.

Follows pkg/kubelet/runtime.go and `updateRuntimeUp` of pkg/kubelet/kubelet.go, Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

import anyio

from cri.clock import SECOND, Clock, seconds
from pleg.hooks import Hooks
from pleg.pods import RuntimeCondition
from pleg.runtime.client import RuntimeClient
from pleg.runtime.convert import RUNTIME_ERRORS

#: maxWaitForContainerRuntime: without a good Status for this long, the runtime is down.
RUNTIME_SYNC_THRESHOLD: Final = 30 * SECOND
#: Period of updateRuntimeUp.
STATUS_PERIOD: Final = 5 * SECOND

HealthCheck = Callable[[], str | None]


class RuntimeState:
    """Asks CRI Status every 5 s, and knows what else is wrong by its health checks, in their order."""

    def __init__(
        self,
        client: RuntimeClient,
        clock: Clock,
        hooks: Hooks,
        health_checks: Sequence[tuple[str, HealthCheck]],
    ) -> None:
        self._client = client
        self._clock = clock
        self._hooks = hooks
        self._health_checks = tuple(health_checks)
        #: As in containerd://ID; empty until the runtime has said it.
        self.runtime_name = ""
        self._last_sync: int | None = None
        self._runtime_error: str | None = None
        self._network_error: str | None = "network state unknown"

    async def run(self) -> None:
        """Poll Status. Until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._learn_name)
            while True:
                await self._update_runtime_up()
                await anyio.sleep(seconds(STATUS_PERIOD))

    async def _learn_name(self) -> None:
        """Ask Version until it tells; beside the poll, for one that hangs must not look like a runtime that is down."""
        while not self.runtime_name:
            with suppress(*RUNTIME_ERRORS):
                self.runtime_name = await self._client.runtime_name()
            await anyio.sleep(seconds(STATUS_PERIOD))

    async def _update_runtime_up(self) -> None:
        try:
            conditions = {c.type: c for c in await self._client.runtime_status()}
        except RUNTIME_ERRORS as error:
            self._hooks.log("E", "kubelet.go", "Container runtime sanity check failed", err=error)
            return
        network = conditions.get("NetworkReady")
        self._network_error = None
        if network is None or not network.status:
            text = _text(network)
            self._network_error = f"container runtime network not ready: {text}"
            self._hooks.log("I", "kubelet.go", "Container runtime network not ready", networkReady=text)
        runtime = conditions.get("RuntimeReady")
        if runtime is None or not runtime.status:
            text = _text(runtime)
            self._runtime_error = f"container runtime not ready: {text}"
            self._hooks.log("I", "kubelet.go", "Container runtime not ready", runtimeReady=text)
            return
        self._runtime_error = None
        self._last_sync = self._clock.monotonic()

    def runtime_errors(self) -> list[str]:
        """What keeps the sync loop from working, in the kubelet's order; empty when nothing does."""
        errors = []
        if self._last_sync is None:
            errors.append("container runtime status check may not have completed yet")
        elif self._clock.monotonic() - self._last_sync >= RUNTIME_SYNC_THRESHOLD:
            errors.append("container runtime is down")
        for name, check in self._health_checks:
            problem = check()
            if problem is not None:
                errors.append(f"{name} is not healthy: {problem}")
        if self._runtime_error is not None:
            errors.append(self._runtime_error)
        return errors

    def network_errors(self) -> list[str]:
        """What keeps the node NotReady without stopping the sync loop."""
        return [] if self._network_error is None else [self._network_error]


def aggregate(errors: Iterable[str]) -> str:
    """As apimachinery's Aggregate prints: one error as it is, several in brackets, each once."""
    unique = list(dict.fromkeys(errors))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"


def _text(condition: RuntimeCondition | None) -> str:
    if condition is None:
        return "<nil>"
    status = "true" if condition.status else "false"
    return f"{condition.type}={status} reason:{condition.reason} message:{condition.message}"
