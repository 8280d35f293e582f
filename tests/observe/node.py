"""A node as HTTP sees it, made of plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from cri.clock import SECOND, VIRTUAL_EPOCH
from pleg.cache import PodCache
from pleg.observe.views import Condition, Views
from pleg.pods import Call, ContainerState, ContainerStatus, PodStatus, SandboxState, SandboxStatus

EPOCH = VIRTUAL_EPOCH


@dataclass(frozen=True)
class ReadyCondition:
    """What node status posts."""

    type: str = "Ready"
    status: str = "True"
    reason: str = "KubeletReady"
    message: str = "kubelet is posting ready status"
    last_heartbeat: int = EPOCH + 10 * SECOND + 5
    last_transition: int = EPOCH


@dataclass
class Node:
    """Everything that `Views` hands out, to be changed by a test."""

    cache: PodCache = field(default_factory=PodCache)
    conditions: list[Condition] = field(default_factory=lambda: [ReadyCondition()])
    blocking: list[Call] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    sync_loop_error: str | None = None
    metrics: bytes = b"up 1\n"

    def views(self) -> Views:
        return Views(
            metrics=lambda: self.metrics,
            sync_loop_error=lambda: self.sync_loop_error,
            conditions=lambda: self.conditions,
            blocking=lambda: self.blocking,
            cache=self.cache.entries,
            cache_time=lambda: self.cache.time,
            events=lambda: self.events,
            node_name="node-1",
        )


def container(
    name: str, state: ContainerState, exit_code: int = 0, *, created_at: int = EPOCH, reason: str = ""
) -> ContainerStatus:
    """A container's status; the id tells name and creation."""
    return ContainerStatus(
        id=f"{name}@{created_at - EPOCH}",
        name=name,
        state=state,
        created_at=created_at,
        started_at=0 if state is ContainerState.CREATED else created_at + SECOND,
        finished_at=created_at + 2 * SECOND if state is ContainerState.EXITED else 0,
        exit_code=exit_code,
        reason=reason,
        image="shop:v1",
        image_ref="shop@sha256:1",
        restart_count=3,
    )


def pod_status(*containers: ContainerStatus, uid: str = "uid-1", ips: tuple[str, ...] = ("10.0.0.1",)) -> PodStatus:
    """An inspected pod of one sandbox."""
    return PodStatus(
        uid=uid,
        name="web",
        namespace="default",
        ips=ips,
        containers=containers,
        active_containers=containers,
        sandboxes=(SandboxStatus("sandbox-1", SandboxState.READY, EPOCH, ips=ips),),
        timestamp=EPOCH + 9,
    )
