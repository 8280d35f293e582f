"""What faults may know of the runtime's objects: pod and container behind an id."""

from __future__ import annotations

from fake_cri.faults.subjects import Subject
from fake_cri.identifiers import AmbiguousId
from fake_cri.objects import Container, Sandbox
from fake_cri.state import State


class StateLookup:
    """`fake_cri.faults.Lookup` over the state of one runtime."""

    def __init__(self, state: State) -> None:
        self._state = state

    def container(self, reference: str) -> Subject | None:
        try:
            found = self._state.containers.find(reference)
        except AmbiguousId:
            return None
        return subject(found) if found is not None else None

    def sandbox(self, reference: str) -> Subject | None:
        try:
            found = self._state.sandboxes.find(reference)
        except AmbiguousId:
            return None
        return subject(found) if found is not None else None

    def pod(self, uid: str) -> Subject | None:
        for sandbox in self._state.sandboxes:
            if sandbox.uid == uid:
                metadata = sandbox.config.metadata
                return Subject(metadata.namespace, metadata.name, uid)
        return None


def subject(found: Sandbox | Container) -> Subject:
    """What selectors look at."""
    sandbox = found if isinstance(found, Sandbox) else found.sandbox
    metadata = sandbox.config.metadata
    pod = (metadata.namespace, metadata.name, metadata.uid)
    if isinstance(found, Sandbox):
        return Subject(*pod, ids=(found.id,))
    return Subject(*pod, found.config.metadata.name, (found.id, sandbox.id))
