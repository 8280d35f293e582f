"""List answers for the inventory's tests, and a full decoding of them as naive as the kubelet's own (`getPods`)."""

from __future__ import annotations

from typing import Final

from cri.v1 import api_pb2 as cri
from pleg.pods import Container, ContainerState, Pod, Sandbox, SandboxState
from pleg.runtime.inventory import Inventory

UID: Final = "io.kubernetes.pod.uid"
NAME: Final = "io.kubernetes.pod.name"
NAMESPACE: Final = "io.kubernetes.pod.namespace"

Listing = tuple[list[cri.PodSandbox], list[cri.Container]]


def naive(listing: Listing, timestamp: int = 0) -> dict[str, Pod]:
    """Section 6.1, word by word, with no thought for cost."""
    pods: dict[str, Pod] = {}
    sandboxes: dict[str, list[Sandbox]] = {}
    containers: dict[str, list[Container]] = {}
    for item in sorted(listing[0], key=lambda s: (-s.metadata.attempt, -s.created_at, s.id)):
        if not item.HasField("metadata"):
            continue
        uid = item.metadata.uid
        pods.setdefault(uid, Pod(uid, item.metadata.name, item.metadata.namespace))
        if item.id:
            state = {0: SandboxState.READY, 1: SandboxState.NOTREADY}.get(item.state, SandboxState.UNKNOWN)
            sandboxes.setdefault(uid, []).append(Sandbox(item.id, state, item.created_at, item.metadata.attempt))
    for entry in sorted(listing[1], key=lambda c: (-c.created_at, c.id)):
        if not entry.HasField("metadata"):
            continue
        uid = entry.labels.get(UID, "")
        pods.setdefault(uid, Pod(uid, entry.labels.get(NAME, ""), entry.labels.get(NAMESPACE, "")))
        if entry.id and entry.HasField("image"):
            known = entry.state if entry.state in (0, 1, 2, 3) else 3
            containers.setdefault(uid, []).append(
                Container(
                    entry.id,
                    entry.metadata.name,
                    ContainerState(known),
                    entry.created_at,
                    entry.metadata.attempt,
                    "s",
                    "busybox",
                )
            )
    return {
        uid: Pod(
            uid,
            pod.name,
            pod.namespace,
            sandboxes[uid][-1].created_at if uid in sandboxes else 0,
            tuple(sandboxes.get(uid, ())),
            tuple(containers.get(uid, ())),
            timestamp,
        )
        for uid, pod in pods.items()
    }


def answers(listing: Listing) -> tuple[bytes, bytes]:
    return (
        cri.ListPodSandboxResponse(items=listing[0]).SerializeToString(),
        cri.ListContainersResponse(containers=listing[1]).SerializeToString(),
    )


def read(inventory: Inventory, listing: Listing, timestamp: int = 0) -> set[str]:
    one, two = answers(listing)
    first, second = inventory.sandboxes.read(one), inventory.containers.read(two)
    assert (first.items, second.items) == (len(listing[0]), len(listing[1]))
    return inventory.apply(timestamp, (one, first), (two, second))


def untimed(pods: dict[str, Pod]) -> dict[str, Pod]:
    return {uid: Pod(p.uid, p.name, p.namespace, p.created_at, p.sandboxes, p.containers) for uid, p in pods.items()}
