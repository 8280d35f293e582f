"""What HTTP shows of a node, as JSON: conditions and blocking calls, pods as a v1 PodList, the raw cache, the events.

Pure but for `Views`, the callables by which a node hands over what it holds. They are called from the HTTP thread, so
they return immutable values or copies. Phases and container states follow `getPhase` and `convertContainerStatus` of
pkg/kubelet/kubelet_pods.go, Kubernetes 1.36, as far as they go without a pod's spec.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cri.clock import SECOND, rfc3339
from pleg.cache import CacheEntry
from pleg.observe.snapshot import snapshot
from pleg.pods import Call, ContainerState, ContainerStatus, PodStatus


class Condition(Protocol):
    """A node condition; times are Unix ns."""

    @property
    def type(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def last_heartbeat(self) -> int: ...
    @property
    def last_transition(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What HTTP may ask of a node, from a thread of its own."""

    #: The text of /metrics.
    metrics: Callable[[], bytes]
    #: What the kubelet's syncloop check complains of, or None.
    sync_loop_error: Callable[[], str | None]
    conditions: Callable[[], Sequence[Condition]]
    #: Calls under way for a while, oldest first.
    blocking: Callable[[], Sequence[Call]]
    #: Uid and entry of each pod in the cache; read by way of `snapshot`.
    cache: Callable[[], Iterable[tuple[str, CacheEntry]]]
    #: The cache's global time, in Unix ns.
    cache_time: Callable[[], int | None]
    #: The last events, each as JSON.
    events: Callable[[], Sequence[str]]
    node_name: str = ""
    #: The runtime's name for itself, once it is known.
    runtime_name: Callable[[], str] = lambda: ""


def node(views: Views) -> bytes:
    """The v1 NodeConditions, and which calls are being waited for."""
    conditions = [
        {
            "type": condition.type,
            "status": condition.status,
            "lastHeartbeatTime": v1_time(condition.last_heartbeat),
            "lastTransitionTime": v1_time(condition.last_transition),
            "reason": condition.reason,
            "message": condition.message,
        }
        for condition in views.conditions()
    ]
    blocking = [
        {"rpc": call.rpc, "pod": call.pod, "container": call.container, "since": rfc3339(call.since)}
        for call in views.blocking()
    ]
    return _encode({"conditions": conditions, "blocking": blocking})


def events(views: Views) -> bytes:
    """The last events, oldest first."""
    return _array(event.encode(errors="backslashreplace") for event in views.events())


def pods(views: Views) -> bytes:
    """A v1 PodList of what is in the cache."""
    name = views.runtime_name()
    scheme = f"{name}://" if name else ""
    items = (_encode(_pod(uid, entry, views.node_name, scheme)) for uid, entry in snapshot(views.cache))
    return b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":' + _array(items) + b"}\n"


def cache(views: Views) -> bytes:
    """The raw entries by uid. Times as text and as Unix ns; what was never set is null."""
    time = views.cache_time()
    head = {"time": None if time is None else rfc3339(time), "time_ns": time}
    entries = (_encode(uid) + b":" + _encode(_entry(entry)) for uid, entry in snapshot(views.cache))
    return _encode(head)[:-1] + b',"entries":{' + b",\n".join(entries) + b"}}\n"


def v1_time(unix_ns: int) -> str | None:
    """A v1 Time: whole seconds, as in ``2026-01-01T00:00:00Z``; null where it is not set."""
    return rfc3339(unix_ns // SECOND * SECOND).replace(".000000000Z", "Z") if unix_ns else None


# --- pods ----------------------------------------------------------------------------------------------------------


def phase(containers: Iterable[ContainerStatus]) -> str:
    """Of a pod with these containers, the newest of each name; whether they will be restarted is unknown."""
    states = {(container.state, container.exit_code == 0) for container in containers}
    if any(state is ContainerState.RUNNING for state, _ in states):
        return "Running"
    if not states or any(state is not ContainerState.EXITED for state, _ in states):
        return "Pending"
    return "Succeeded" if all(good for _, good in states) else "Failed"


def _pod(uid: str, entry: CacheEntry, node_name: str, scheme: str) -> dict[str, object]:
    status = entry.status
    if status is None:  # never inspected without an error
        return {
            "metadata": {"name": "", "namespace": "", "uid": uid},
            "spec": {"containers": [], "nodeName": node_name},
            "status": {"phase": "Unknown", "message": str(entry.error)},
        }
    generations: dict[str, list[ContainerStatus]] = {}
    for container in sorted(status.containers, key=lambda c: -c.created_at):
        generations.setdefault(container.name, []).append(container)
    current = [generation[0] for _, generation in sorted(generations.items())]
    shown: dict[str, object] = {"phase": phase(current)}
    if entry.error is not None:
        shown["message"] = str(entry.error)
    if status.ips:
        shown["podIP"] = status.ips[0]
        shown["podIPs"] = [{"ip": ip} for ip in status.ips]
    shown["containerStatuses"] = [_container(generations[container.name], scheme) for container in current]
    created = min((sandbox.created_at for sandbox in status.sandboxes), default=0)
    return {
        "metadata": {
            "name": status.name,
            "namespace": status.namespace,
            "uid": uid,
            "creationTimestamp": v1_time(created),
        },
        "spec": {"containers": [{"name": c.name, "image": c.image} for c in current], "nodeName": node_name},
        "status": shown,
    }


def _container(generations: Sequence[ContainerStatus], scheme: str) -> dict[str, object]:
    newest = generations[0]
    running = newest.state is ContainerState.RUNNING
    last = generations[1] if len(generations) > 1 else None
    return {
        "name": newest.name,
        "state": _state(newest, scheme),
        "lastState": _state(last, scheme) if last is not None and last.state is ContainerState.EXITED else {},
        "ready": running,  # without probes that is what readiness is
        "restartCount": newest.restart_count,
        "image": newest.image,
        "imageID": newest.image_ref,
        "containerID": scheme + newest.id,
        "started": running,
    }


def _state(container: ContainerStatus, scheme: str) -> dict[str, object]:
    match container.state:
        case ContainerState.RUNNING:
            return {"running": {"startedAt": v1_time(container.started_at)}}
        case ContainerState.EXITED:
            terminated: dict[str, object] = {"exitCode": container.exit_code}
            if container.reason:
                terminated["reason"] = container.reason
            if container.message:
                terminated["message"] = container.message
            return {
                "terminated": terminated
                | {
                    "startedAt": v1_time(container.started_at),
                    "finishedAt": v1_time(container.finished_at),
                    "containerID": scheme + container.id,
                }
            }
    return {"waiting": {}}


# --- the cache -----------------------------------------------------------------------------------------------------


def _entry(entry: CacheEntry) -> dict[str, object]:
    return {
        "status": _plain(entry.status),
        "error": None if entry.error is None else str(entry.error),
        "modified": rfc3339(entry.modified),
        "modified_ns": entry.modified,
        "observed": rfc3339(entry.observed),
        "observed_ns": entry.observed,
    }


def _plain(value: object) -> object:
    """Value types as JSON has them, field by field; states by their names."""
    if value is None or type(value) in (str, int):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return str(value)
    if dataclasses.is_dataclass(value):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        if isinstance(value, PodStatus):
            fields["active_containers"] = [container.id for container in value.active_containers]
        return fields
    return str(value)


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def _array(items: Iterable[bytes]) -> bytes:
    # Item by item: one call for everything would keep the interpreter from the PLEG's thread for its whole length.
    return b"[" + b",\n".join(items) + b"]"
