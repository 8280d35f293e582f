"""Value types: what a kubelet holds about pods, containers and sandboxes. Immutable, shared, never copied.

Follows pkg/kubelet/container/runtime.go and pkg/kubelet/pleg/pleg.go of Kubernetes 1.36. All times are Unix
nanoseconds; 0 stands for "not set".
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final


class ContainerState(enum.IntEnum):
    """States of a container, with CRI's numbers; `str` is the kubelet's word and metric label."""

    CREATED = 0
    RUNNING = 1
    EXITED = 2
    UNKNOWN = 3

    def __str__(self) -> str:
        return self.name.lower()


class SandboxState(enum.IntEnum):
    """States of a sandbox, with CRI's numbers; a number that CRI does not know is UNKNOWN."""

    READY = 0
    NOTREADY = 1
    UNKNOWN = -1

    def __str__(self) -> str:
        return f"SANDBOX_{self.name}"


def container_state(wire: int) -> ContainerState:
    """The state for a number from the wire; unknown numbers are UNKNOWN, as in kuberuntime's helpers.go."""
    return _CONTAINER_STATES.get(wire, ContainerState.UNKNOWN)


def sandbox_state(wire: int) -> SandboxState:
    """The state for a number from the wire."""
    return _SANDBOX_STATES.get(wire, SandboxState.UNKNOWN)


_CONTAINER_STATES: Final = {int(state): state for state in ContainerState}
_SANDBOX_STATES: Final = {0: SandboxState.READY, 1: SandboxState.NOTREADY}


@dataclass(frozen=True, slots=True)
class Container:
    """A container as a list shows it."""

    id: str
    name: str
    state: ContainerState
    created_at: int
    attempt: int = 0
    sandbox_id: str = ""
    image: str = ""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox as a list shows it."""

    id: str
    state: SandboxState
    created_at: int
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as the two lists show it, newest sandboxes and containers first.

    `timestamp` is the kubelet's time just before the sandboxes were listed (Kubernetes 1.36, k#138024).
    """

    uid: str
    name: str = ""
    namespace: str = ""
    created_at: int = 0
    sandboxes: tuple[Sandbox, ...] = ()
    containers: tuple[Container, ...] = ()
    timestamp: int = 0


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """A container as ContainerStatus shows it."""

    id: str
    name: str
    state: ContainerState
    created_at: int
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_ref: str = ""
    attempt: int = 0
    restart_count: int = 0


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """A sandbox as PodSandboxStatus shows it."""

    id: str
    state: SandboxState
    created_at: int
    attempt: int = 0
    ips: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PodStatus:
    """What an inspection found out about one pod. `timestamp` is when, by whose clock depends on the generator."""

    uid: str
    name: str = ""
    namespace: str = ""
    ips: tuple[str, ...] = ()
    containers: tuple[ContainerStatus, ...] = ()
    active_containers: tuple[ContainerStatus, ...] = ()
    sandboxes: tuple[SandboxStatus, ...] = ()
    timestamp: int = 0


class EventType(enum.StrEnum):
    """Types of pod lifecycle events (pkg/kubelet/pleg/pleg.go)."""

    CONTAINER_STARTED = "ContainerStarted"
    CONTAINER_DIED = "ContainerDied"
    CONTAINER_REMOVED = "ContainerRemoved"
    #: Internal: makes the pod be inspected and its record advance, but is never sent.
    CONTAINER_CHANGED = "ContainerChanged"
    POD_SYNC = "PodSync"


@dataclass(frozen=True, slots=True)
class PodLifecycleEvent:
    """`data` is the id of the container or sandbox; None for PodSync."""

    uid: str
    type: EventType
    data: str | None = None


class ContainerEventType(enum.IntEnum):
    """Types of the runtime's own events, with CRI's numbers."""

    CREATED = 0
    STARTED = 1
    STOPPED = 2
    DELETED = 3

    def __str__(self) -> str:
        return f"CONTAINER_{self.name}_EVENT"


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """One event of GetContainerEvents. `status` is None when the sandbox status or its metadata was missing.

    `nil_image` is set where a container's status came without its image: upstream follows that nil (1.36, 1.37).
    """

    container_id: str
    type: ContainerEventType | int
    created_at: int
    status: PodStatus | None = None
    sandbox_id: str = ""
    nil_image: bool = False


@dataclass(frozen=True, slots=True)
class RuntimeCondition:
    """One condition of CRI Status."""

    type: str
    status: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One rpc under way or ended: who made it, on behalf of what, since when (Unix ns). Compared by identity."""

    rpc: str
    caller: str
    since: int
    pod: str = ""
    container: str = ""
    serial: int = field(default=0)


class PodNotFound(Exception):
    """No sandbox and no container of that pod is listed (kubecontainer.ErrPodNotFound)."""

    def __str__(self) -> str:
        return "pod not found"
