"""The state table: what an old and a new state of one container or sandbox mean as events. Pure.

Follows `generateEvents` and `convertState` of pkg/kubelet/pleg/generic.go, the same from 1.2 to 1.37.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import Final

from pleg.pods import ContainerState, EventType, Pod, PodLifecycleEvent, SandboxState


class PlegState(enum.Enum):
    """What the PLEG tells apart. A container that was only created is UNKNOWN to it."""

    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"
    NON_EXISTENT = "non-existent"

    def __str__(self) -> str:
        return self.value


CONTAINER_STATE: Final = {
    ContainerState.CREATED: PlegState.UNKNOWN,
    ContainerState.RUNNING: PlegState.RUNNING,
    ContainerState.EXITED: PlegState.EXITED,
    ContainerState.UNKNOWN: PlegState.UNKNOWN,
}

SANDBOX_STATE: Final = {
    SandboxState.READY: PlegState.RUNNING,
    SandboxState.NOTREADY: PlegState.EXITED,
    SandboxState.UNKNOWN: PlegState.UNKNOWN,
}

_STARTED: Final = (EventType.CONTAINER_STARTED,)
_DIED: Final = (EventType.CONTAINER_DIED,)
_CHANGED: Final = (EventType.CONTAINER_CHANGED,)
_REMOVED: Final = (EventType.CONTAINER_REMOVED,)
_DIED_REMOVED: Final = (EventType.CONTAINER_DIED, EventType.CONTAINER_REMOVED)

#: new state -> what it means when the old state was another one; NON_EXISTENT depends on the old state.
_ON_ENTERING: Final = {
    PlegState.RUNNING: _STARTED,
    PlegState.EXITED: _DIED,
    PlegState.UNKNOWN: _CHANGED,
}


def transition(old: PlegState, new: PlegState) -> tuple[EventType, ...]:
    """The events of one change; empty when nothing changed."""
    if old is new:
        return ()
    if new is PlegState.NON_EXISTENT:
        return _REMOVED if old is PlegState.EXITED else _DIED_REMOVED
    return _ON_ENTERING[new]


def states(pod: Pod | None) -> dict[str, PlegState]:
    """The state of each container and sandbox of a pod by id, containers first; empty for no pod."""
    if pod is None:
        return {}
    found = {container.id: CONTAINER_STATE[container.state] for container in pod.containers}
    for sandbox in pod.sandboxes:
        found.setdefault(sandbox.id, SANDBOX_STATE[sandbox.state])
    return found


def compute_events(uid: str, old: Pod | None, new: Pod | None) -> list[PodLifecycleEvent]:
    """The events between two sightings of one pod: old containers, old sandboxes, then those that are new."""
    return list(_diff(uid, states(old), states(new)))


def _diff(uid: str, old: dict[str, PlegState], new: dict[str, PlegState]) -> Iterator[PodLifecycleEvent]:
    ids: Iterable[str] = dict.fromkeys((*old, *new))
    for id_ in ids:
        before = old.get(id_, PlegState.NON_EXISTENT)
        after = new.get(id_, PlegState.NON_EXISTENT)
        for type_ in transition(before, after):
            yield PodLifecycleEvent(uid, type_, id_)
