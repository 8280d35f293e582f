"""From CRI messages to the kubelet's own values, with the checks that the kubelet's client makes. Pure.

Follows k8s.io/cri-client pkg/utils.go and pkg/kubelet/kuberuntime (helpers.go, labels.go, kuberuntime_container.go,
kuberuntime_sandbox.go, kuberuntime_manager.go) of Kubernetes 1.36.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from cri.transport import CriError
from cri.v1 import api_pb2 as cri
from pleg.pods import (
    Container,
    ContainerEvent,
    ContainerEventType,
    ContainerState,
    ContainerStatus,
    Pod,
    PodStatus,
    Sandbox,
    SandboxStatus,
    container_state,
    sandbox_state,
)

POD_NAME_LABEL: Final = "io.kubernetes.pod.name"
POD_NAMESPACE_LABEL: Final = "io.kubernetes.pod.namespace"
POD_UID_LABEL: Final = "io.kubernetes.pod.uid"
CONTAINER_NAME_LABEL: Final = "io.kubernetes.container.name"
RESTART_COUNT_ANNOTATION: Final = "io.kubernetes.container.restartCount"


class MalformedAnswer(Exception):
    """The runtime answered OK with something that the kubelet's client refuses."""


#: What a call to the runtime can raise.
RUNTIME_ERRORS: Final = (CriError, MalformedAnswer)


def to_sandbox(item: cri.PodSandbox) -> Sandbox | None:
    """A listed sandbox; None for one that kuberuntime cannot convert (no id)."""
    if not item.id:
        return None
    return Sandbox(item.id, sandbox_state(item.state), item.created_at, item.metadata.attempt)


def to_container(item: cri.Container) -> Container | None:
    """A listed container; None for one that kuberuntime cannot convert (no id, no image)."""
    if not item.id or not item.HasField("image"):
        return None
    return Container(
        id=item.id,
        name=item.metadata.name,
        state=container_state(item.state),
        created_at=item.created_at,
        attempt=item.metadata.attempt,
        sandbox_id=item.pod_sandbox_id,
        image=item.image.image,
    )


def to_pod(
    uid: str,
    name: str,
    namespace: str,
    sandboxes: Iterable[Sandbox],
    containers: Iterable[Container],
    timestamp: int,
) -> Pod:
    """A pod in the order of 1.36: sandboxes by attempt, then creation, newest first; containers newest first.

    Its creation is that of its oldest sandbox, for upstream lets the last one iterated win.
    """
    ordered = sorted(sandboxes, key=lambda s: (-s.attempt, -s.created_at, s.id))
    return Pod(
        uid=uid,
        name=name,
        namespace=namespace,
        created_at=ordered[-1].created_at if ordered else 0,
        sandboxes=tuple(ordered),
        containers=tuple(sorted(containers, key=lambda c: (-c.created_at, c.id))),
        timestamp=timestamp,
    )


def to_sandbox_status(status: cri.PodSandboxStatus) -> SandboxStatus:
    """A sandbox's status."""
    return SandboxStatus(
        id=status.id,
        state=sandbox_state(status.state),
        created_at=status.created_at,
        attempt=status.metadata.attempt,
        ips=_pod_ips(status),
    )


def _pod_ips(status: cri.PodSandboxStatus) -> tuple[str, ...]:
    """As `determinePodSandboxIPs` does: one that cannot be parsed takes all with it; on the host network there are none
    because the runtime names none."""
    ips = [ip for ip in (status.network.ip,) if ip]
    ips += [extra.ip for extra in status.network.additional_ips]
    return tuple(ips) if all(map(_is_ip, ips)) else ()


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def to_container_status(status: cri.ContainerStatus) -> ContainerStatus:
    """A container's status; name and restart count from the kubelet's label and annotation.

    When it started is kept of one that is not CREATED, how it ended of one that is EXITED, as `toKubeContainerStatus`
    does: a runtime may say more than that.
    """
    restarts = status.annotations.get(RESTART_COUNT_ANNOTATION, "")
    state = container_state(status.state)
    ended = state is ContainerState.EXITED
    return ContainerStatus(
        id=status.id,
        name=status.labels.get(CONTAINER_NAME_LABEL, "") or status.metadata.name,
        state=state,
        created_at=status.created_at,
        started_at=0 if state is ContainerState.CREATED else status.started_at,
        finished_at=status.finished_at if ended else 0,
        exit_code=status.exit_code if ended else 0,
        reason=status.reason if ended else "",
        message=status.message if ended else "",
        image=status.image.image,
        image_ref=status.image_ref,
        attempt=status.metadata.attempt,
        restart_count=int(restarts) if restarts.isascii() and restarts.isdigit() else 0,
    )


def newest_first(statuses: Iterable[ContainerStatus]) -> tuple[ContainerStatus, ...]:
    """As kuberuntime sorts container statuses: by creation, descending."""
    return tuple(sorted(statuses, key=lambda s: -s.created_at))


def check_sandbox_status(response: cri.PodSandboxStatusResponse) -> cri.PodSandboxStatus:
    """The status in an answer. Raises MalformedAnswer in the words of the kubelet's client."""
    if not response.HasField("status"):
        raise MalformedAnswer("pod sandbox status is nil")
    status = response.status
    if not status.id:
        raise MalformedAnswer("status.Id is not set")
    if not status.HasField("metadata"):
        raise MalformedAnswer("status.Metadata is not set")
    metadata = status.metadata
    if not (metadata.name and metadata.namespace and metadata.uid):
        shown = f"name:{metadata.name!r} uid:{metadata.uid!r} namespace:{metadata.namespace!r}"
        raise MalformedAnswer(f"metadata.Name, metadata.Namespace or metadata.Uid is not in metadata {shown}")
    if status.created_at == 0:
        raise MalformedAnswer("status.CreatedAt is not set")
    return status


def check_container_status(response: cri.ContainerStatusResponse) -> cri.ContainerStatus:
    """The status in an answer. Raises MalformedAnswer in the words of the kubelet's client."""
    if not response.HasField("status"):
        raise MalformedAnswer("container status is nil")
    status = response.status
    if not status.id:
        raise MalformedAnswer("status.Id is not set")
    if not status.HasField("metadata"):
        raise MalformedAnswer("status.Metadata is not set")
    if not status.metadata.name:
        raise MalformedAnswer("metadata.Name is not in metadata")
    if status.created_at == 0:
        raise MalformedAnswer("status.CreatedAt is not set")
    if not status.image.image:
        raise MalformedAnswer("status.Image is not set")
    if not status.image_ref:
        raise MalformedAnswer("status.ImageRef is not set")
    return status


def to_event(response: cri.ContainerEventResponse) -> ContainerEvent:
    """An event of the stream, with the pod status that evented PLEG makes of it (GeneratePodStatus).

    The status is None where the sandbox status or its metadata is missing: such an event is dropped upstream.
    """
    sandbox = response.pod_sandbox_status
    status = None
    if response.HasField("pod_sandbox_status") and sandbox.HasField("metadata"):
        status = PodStatus(
            uid=sandbox.metadata.uid,
            name=sandbox.metadata.name,
            namespace=sandbox.metadata.namespace,
            ips=_pod_ips(sandbox),
            containers=newest_first(to_container_status(s) for s in response.containers_statuses),
            sandboxes=(to_sandbox_status(sandbox),),
        )
    kind = response.container_event_type
    return ContainerEvent(
        container_id=response.container_id,
        type=ContainerEventType(kind) if kind in _EVENT_TYPES else int(kind),
        created_at=response.created_at,
        status=status,
        sandbox_id=sandbox.id,
        nil_image=any(not s.HasField("image") for s in response.containers_statuses),
    )


_EVENT_TYPES: Final = frozenset(int(kind) for kind in ContainerEventType)
