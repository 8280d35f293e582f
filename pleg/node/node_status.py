"""The node's Ready condition, as the kubelet computes and posts it every 10 s.

Follows pkg/kubelet/kubelet_node_status.go and `ReadyCondition` of pkg/kubelet/nodestatus/setters.go, Kubernetes 1.36.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio

from cri.clock import MILLISECOND, MINUTE, SECOND, Clock, rfc3339, seconds
from pleg.hooks import Hooks
from pleg.node.runtime_state import aggregate

#: nodeStatusUpdateFrequency, and by how much it is stretched at random.
UPDATE_PERIOD: Final = 10 * SECOND
_JITTER: Final = 0.04
#: How often a node that was never ready is looked at, and for how long (fastStatusUpdateOnce, nodeReadyGracePeriod).
_FAST_PERIOD: Final = 100 * MILLISECOND
_FAST_GRACE_PERIOD: Final = 2 * MINUTE


@dataclass(frozen=True, slots=True)
class NodeCondition:
    """A v1 NodeCondition. Times are Unix ns."""

    type: str
    status: str
    reason: str
    message: str
    last_heartbeat: int
    last_transition: int


class NodeStatus:
    """Computes the Ready condition from what is wrong with the runtime."""

    def __init__(
        self, errors: Callable[[], list[str]], clock: Clock, hooks: Hooks, rng: random.Random, *, node_name: str
    ) -> None:
        self._errors = errors
        self._clock = clock
        self._hooks = hooks
        self._rng = rng
        self._node_name = node_name
        self._ready: NodeCondition | None = None

    @property
    def conditions(self) -> list[NodeCondition]:
        """The conditions as last posted; none before the first time."""
        return [] if self._ready is None else [self._ready]

    async def run(self) -> None:
        """Post at once, again as soon as the node is first ready, then every 10 s and a little. Until cancelled."""
        next_update = start = self._clock.monotonic()
        fast = True
        while True:
            now = self._clock.monotonic()
            fast = fast and now - start < _FAST_GRACE_PERIOD
            first_ready = fast and not self._errors()
            if now >= next_update or first_ready:
                self._update()
                fast = fast and not first_ready
                pause = round(UPDATE_PERIOD * (1 + _JITTER * self._rng.random()))
                next_update = now + pause
            wait = min(_FAST_PERIOD, next_update - now) if fast else next_update - now
            await anyio.sleep(seconds(wait))

    def _update(self) -> None:
        now = self._clock.now()
        errors = self._errors()
        if errors:
            status, reason, message = "False", "KubeletNotReady", aggregate(errors)
        else:
            status, reason, message = "True", "KubeletReady", "kubelet is posting ready status"
        before = self._ready
        changed = before is None or before.status != status
        since = now if before is None or changed else before.last_transition
        self._ready = NodeCondition("Ready", status, reason, message, now, since)
        if changed and before is not None and status == "False":
            self._hooks.log(
                "I",
                "setters.go",
                "Node became not ready",
                node=self._node_name,
                condition={
                    "type": "Ready",
                    "status": status,
                    "lastHeartbeatTime": _v1_time(now),
                    "lastTransitionTime": _v1_time(since),
                    "reason": reason,
                    "message": message,
                },
            )
        self._hooks.node_condition("Ready", status, reason, message, changed)


def _v1_time(unix_ns: int) -> str:
    """As metav1.Time is serialized: whole seconds."""
    return f"{rfc3339(unix_ns)[:19]}Z"
