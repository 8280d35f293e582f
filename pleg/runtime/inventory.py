"""What changed between two answers of the two lists, at a cost that follows the change and not the node's size.

An answer is parsed through a slit, as a message type that names only id and state; everything else stays unknown
fields. Only entries that are new are decoded whole. That is all a PLEG compares: neither the bytes nor their length
tell whether something changed, for containerd lists in random order and serializes maps in random order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeVar

from cri.v1 import api_pb2 as cri
from cri.v1 import projection_pb2 as projection
from pleg.pods import Container, ContainerState, Pod, Sandbox, SandboxState, container_state, sandbox_state
from pleg.runtime import convert

V = TypeVar("V", Sandbox, Container)


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """One listed object and the pod it belongs to. `value` is None where kuberuntime cannot convert it."""

    uid: str
    name: str
    namespace: str
    value: V | None


@dataclass(frozen=True, slots=True)
class Reading(Generic[V]):
    """One list answer beside the one before: how many items, which are new, in another state, or gone."""

    items: int
    states: dict[str, int]
    new: dict[str, Entry[V] | None] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


class _List(Generic[V]):
    """One of the two lists as it last stood."""

    def __init__(
        self,
        slit: type[projection.Sandboxes] | type[projection.Containers],
        decode: Callable[[bytes], Entry[V] | None],
        with_state: Callable[[V, int], V],
    ) -> None:
        self._slit = slit
        self._decode: Final[Callable[[bytes], Entry[V] | None]] = decode
        self._with_state: Final[Callable[[V, int], V]] = with_state
        self._states: dict[str, int] = {}
        self._answer: bytes | None = None
        self.entries: dict[str, Entry[V] | None] = {}

    def read(self, answer: bytes) -> Reading[V]:
        """Compare an answer with the last one applied; changes nothing. Raises protobuf's DecodeError."""
        if answer == self._answer:
            return Reading(len(self._states), self._states)
        seen: Any = self._slit.FromString(answer)
        states = {item.id: item.state for item in seen.items}
        old = self._states
        if states == old:
            return Reading(len(seen.items), states)
        differing = {id_ for id_, _ in states.items() ^ old.items()}
        fresh = {id_ for id_ in differing if id_ not in old}
        new = {item.id: self._decode(item.SerializeToString()) for item in seen.items if item.id in fresh}
        return Reading(
            items=len(seen.items),
            states=states,
            new=new,
            changed=tuple(id_ for id_ in states if id_ in differing and id_ not in fresh),
            gone=tuple(id_ for id_ in old if id_ in differing and id_ not in states),
        )

    def apply(self, answer: bytes, reading: Reading[V]) -> set[str]:
        """Take a reading over; the uids of the pods that it touches."""
        self._answer = answer
        self._states = reading.states
        touched = set()
        for id_ in reading.gone:
            entry = self.entries.pop(id_)
            if entry is not None:
                touched.add(entry.uid)
        for id_ in reading.changed:
            entry = self.entries[id_]
            if entry is not None and entry.value is not None:
                value = self._with_state(entry.value, reading.states[id_])
                self.entries[id_] = replace(entry, value=value)
                touched.add(entry.uid)
        for id_, entry in reading.new.items():
            self.entries[id_] = entry
            if entry is not None:
                touched.add(entry.uid)
        return touched


class Inventory:
    """The pods of the last two list answers. Reading may fail half-way; applying takes both lists at once."""

    def __init__(self) -> None:
        self.sandboxes: Final[_List[Sandbox]] = _List(projection.Sandboxes, _sandbox_entry, _sandbox_with_state)
        self.containers: Final[_List[Container]] = _List(projection.Containers, _container_entry, _container_with_state)
        #: Pods by uid. An object stays the same as long as nothing that a PLEG compares has changed.
        self.pods: dict[str, Pod] = {}
        # Ids of each pod's sandboxes and containers; dicts, for a set of strings has another order in each process.
        self._members: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
        self._running_pods = 0
        self._container_states: Counter[ContainerState] = Counter()

    @property
    def running_pods(self) -> int:
        """Pods with at least one running sandbox."""
        return self._running_pods

    @property
    def container_states(self) -> Counter[ContainerState]:
        """How many containers are in each state; only states that are present."""
        return self._container_states

    def apply(
        self,
        timestamp: int,
        sandboxes: tuple[bytes, Reading[Sandbox]],
        containers: tuple[bytes, Reading[Container]],
    ) -> set[str]:
        """Take both readings over, listed from `timestamp` (Unix ns) on; the uids of the pods that changed."""
        self._forget(self.sandboxes.entries, sandboxes[1].gone, 0)
        self._forget(self.containers.entries, containers[1].gone, 1)
        touched = self.sandboxes.apply(*sandboxes) | self.containers.apply(*containers)
        self._remember(sandboxes[1].new, 0)
        self._remember(containers[1].new, 1)
        for uid in sorted(touched):
            self._rebuild(uid, timestamp)
        return touched

    def _forget(self, entries: dict[str, Any], ids: Iterable[str], side: int) -> None:
        for id_ in ids:
            entry = entries[id_]
            if entry is not None:
                self._members[entry.uid][side].pop(id_, None)

    def _remember(self, new: dict[str, Any], side: int) -> None:
        for id_, entry in new.items():
            if entry is not None:
                self._members.setdefault(entry.uid, ({}, {}))[side][id_] = None

    def _rebuild(self, uid: str, timestamp: int) -> None:
        old = self.pods.pop(uid, None)
        if old is not None:
            self._count(old, -1)
        sandbox_ids, container_ids = self._members[uid]
        sandboxes = [self.sandboxes.entries[id_] for id_ in sandbox_ids]
        containers = [self.containers.entries[id_] for id_ in container_ids]
        known = [entry for entry in (*sandboxes, *containers) if entry is not None]
        if not known:
            del self._members[uid]
            return
        pod = convert.to_pod(
            uid,
            known[0].name,
            known[0].namespace,
            (entry.value for entry in sandboxes if entry is not None and entry.value is not None),
            (entry.value for entry in containers if entry is not None and entry.value is not None),
            timestamp,
        )
        self.pods[uid] = pod
        self._count(pod, 1)

    def _count(self, pod: Pod, sign: int) -> None:
        for container in pod.containers:
            self._container_states[container.state] += sign
            if not self._container_states[container.state]:
                del self._container_states[container.state]
        if any(sandbox.state is SandboxState.READY for sandbox in pod.sandboxes):
            self._running_pods += sign


def _sandbox_entry(data: bytes) -> Entry[Sandbox] | None:
    item = cri.PodSandbox.FromString(data)
    if not item.HasField("metadata"):
        return None
    metadata = item.metadata
    return Entry(metadata.uid, metadata.name, metadata.namespace, convert.to_sandbox(item))


def _container_entry(data: bytes) -> Entry[Container] | None:
    item = cri.Container.FromString(data)
    if not item.HasField("metadata"):
        return None
    labels = item.labels
    return Entry(
        labels.get(convert.POD_UID_LABEL, ""),
        labels.get(convert.POD_NAME_LABEL, ""),
        labels.get(convert.POD_NAMESPACE_LABEL, ""),
        convert.to_container(item),
    )


def _sandbox_with_state(sandbox: Sandbox, state: int) -> Sandbox:
    return replace(sandbox, state=sandbox_state(state))


def _container_with_state(container: Container, state: int) -> Container:
    return replace(container, state=container_state(state))
