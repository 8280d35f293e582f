"""What changed between two list answers, over random sequences of them.

Measured by a full decoding as naive as the kubelet's own (`getPods`, pkg/kubelet/kuberuntime).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from cri.v1 import api_pb2 as cri
from pleg.lifecycle import compute_events
from pleg.pods import SandboxState
from pleg.runtime.inventory import Inventory
from tests.pleg.listing import NAME, NAMESPACE, UID, Listing, answers, naive, read, untimed


@dataclass(frozen=True)
class Item:
    """What never changes about one sandbox or container."""

    id: str
    uid: str
    sandbox: bool
    created_at: int
    attempt: int
    metadata: bool = True
    labelled: bool = True
    image: bool = True

    def wire(self, state: int, labels: Callable[[list[str]], list[str]]) -> cri.PodSandbox | cri.Container:
        label = {UID: self.uid, NAME: f"pod-{self.uid}", NAMESPACE: "ns", "app": "x"} if self.labelled else {}
        shuffled = {key: label[key] for key in labels(sorted(label))}
        if self.sandbox:
            metadata = cri.PodSandboxMetadata(
                name=f"pod-{self.uid}", namespace="ns", uid=self.uid, attempt=self.attempt
            )
            return cri.PodSandbox(
                id=self.id,
                metadata=metadata if self.metadata else None,
                state=state,  # type: ignore[arg-type]
                created_at=self.created_at,
                labels=shuffled,
            )
        return cri.Container(
            id=self.id,
            metadata=cri.ContainerMetadata(name=f"name-{self.id}", attempt=self.attempt) if self.metadata else None,
            state=state,  # type: ignore[arg-type]
            created_at=self.created_at,
            image=cri.ImageSpec(image="busybox") if self.image else None,
            pod_sandbox_id="s",
            labels=shuffled,
        )


# --- random sequences ----------------------------------------------------------------------------------------

uids = st.sampled_from(["u1", "u2", "u3"])
catalogue = st.lists(
    st.builds(
        Item,
        id=st.sampled_from([f"{n:02x}" for n in range(14)]),
        uid=uids,
        sandbox=st.booleans(),
        created_at=st.integers(0, 4),
        attempt=st.integers(0, 2),
        metadata=st.sampled_from([True] * 9 + [False]),
        labelled=st.sampled_from([True] * 9 + [False]),
        image=st.sampled_from([True] * 9 + [False]),
    ),
    max_size=14,
    unique_by=lambda item: item.id,
)
sightings = st.lists(st.tuples(st.randoms(use_true_random=False), st.booleans()), min_size=1, max_size=6)


def listed(items: Sequence[Item], rng: random.Random) -> Listing:
    """Some of the items, each in some state, in some order, with maps in some order."""

    def shuffle(keys: list[str]) -> list[str]:
        return rng.sample(keys, len(keys))

    sandboxes: list[cri.PodSandbox] = []
    containers: list[cri.Container] = []
    for item in rng.sample(items, rng.randint(0, len(items))):
        wire = item.wire(rng.choice([0, 1, 1, 2, 3, 7]), shuffle)
        if isinstance(wire, cri.PodSandbox):
            sandboxes.append(wire)
        else:
            containers.append(wire)
    return sandboxes, containers


@given(catalogue, sightings)
@settings(max_examples=100, deadline=None)
def test_after_any_sequence_of_answers_it_holds_what_a_full_decoding_of_the_last_one_holds(
    items: list[Item], sequence: list[tuple[random.Random, bool]]
) -> None:
    inventory = Inventory()
    listing: Listing = ([], [])
    for rng, again in sequence:
        before, old = dict(inventory.pods), naive(listing)
        if not again:
            listing = listed(items, rng)
        else:  # the same content in another order
            listing = (rng.sample(listing[0], len(listing[0])), rng.sample(listing[1], len(listing[1])))
        touched = read(inventory, listing)
        new = naive(listing)
        assert untimed(inventory.pods) == new
        for uid in old.keys() | new.keys():
            if compute_events(uid, old.get(uid), new.get(uid)):
                assert uid in touched
        for uid, pod in before.items():
            if uid not in touched:
                assert inventory.pods[uid] is pod, "an unchanged pod stays the same object"
        assert inventory.running_pods == sum(
            any(s.state is SandboxState.READY for s in pod.sandboxes) for pod in new.values()
        )
        counted = Counter(c.state for pod in new.values() for c in pod.containers)
        assert dict(inventory.container_states) == dict(counted), "only states that are present"


@given(catalogue, st.randoms(use_true_random=False), st.randoms(use_true_random=False), st.integers(1, 30))
@settings(max_examples=50, deadline=None)
def test_an_answer_that_cannot_be_read_leaves_everything_as_it_was(
    items: list[Item], one: random.Random, two: random.Random, cut: int
) -> None:
    inventory = Inventory()
    listing = listed(items, one)
    read(inventory, listing)
    pods, states = dict(inventory.pods), Counter(inventory.container_states)
    good, torn = answers(listed(items, two))
    first = inventory.sandboxes.read(good)
    try:
        inventory.containers.read(torn[:-cut])
    except DecodeError:
        pass
    assert all(inventory.pods[uid] is pod for uid, pod in pods.items())
    assert inventory.container_states == states
    assert read(inventory, listing) == set(), "compared with what was applied, not with what was read"
    assert first.items >= 0
