"""What changed between two list answers: cases of their own, one by one."""

from __future__ import annotations

import pytest

from cri.v1 import api_pb2 as cri
from pleg.pods import ContainerState, SandboxState
from pleg.runtime.inventory import Inventory
from tests.pleg.listing import NAME, NAMESPACE, UID, read


def sandbox(id_: str, uid: str = "u1", state: int = 0, **more: int) -> cri.PodSandbox:
    metadata = cri.PodSandboxMetadata(name="p", namespace="ns", uid=uid, attempt=more.pop("attempt", 0))
    return cri.PodSandbox(id=id_, metadata=metadata, state=state, **more)  # type: ignore[arg-type]


def container(id_: str, uid: str = "u1", state: int = 1, **more: int) -> cri.Container:
    return cri.Container(
        id=id_,
        metadata=cri.ContainerMetadata(name="c"),
        image=cri.ImageSpec(image="busybox"),
        labels={UID: uid, NAME: "p", NAMESPACE: "ns"},
        state=state,  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )


def test_equal_bytes_touch_nothing() -> None:
    inventory, listing = Inventory(), ([sandbox("s")], [container("c")])
    assert read(inventory, listing, 1) == {"u1"}
    pod = inventory.pods["u1"]
    assert read(inventory, listing, 2) == set()
    assert inventory.pods["u1"] is pod
    assert pod.timestamp == 1


def test_a_change_of_state_keeps_the_entrys_length_and_is_seen_all_the_same() -> None:
    inventory = Inventory()
    read(inventory, ([], [container("c", state=1)]))
    assert read(inventory, ([], [container("c", state=2)])) == {"u1"}
    assert inventory.pods["u1"].containers[0].state is ContainerState.EXITED


def test_ready_and_created_are_zero_on_the_wire_and_yet_states() -> None:
    inventory = Inventory()
    read(inventory, ([sandbox("s", state=0)], [container("c", state=0)]))
    pod = inventory.pods["u1"]
    assert (pod.sandboxes[0].state, pod.containers[0].state) == (SandboxState.READY, ContainerState.CREATED)
    assert read(inventory, ([sandbox("s", state=1)], [container("c", state=0)])) == {"u1"}
    assert inventory.running_pods == 0
    assert read(inventory, ([sandbox("s", state=0)], [container("c", state=0)])) == {"u1"}
    assert inventory.running_pods == 1


def test_sandboxes_are_sorted_by_attempt_then_creation_then_id_and_containers_by_creation_then_id() -> None:
    inventory = Inventory()
    read(
        inventory,
        (
            [
                sandbox("d", created_at=9),
                sandbox("c", created_at=9),
                sandbox("b", created_at=1, attempt=1),
                sandbox("a", created_at=5),
            ],
            [container("z", created_at=3), container("y", created_at=7), container("x", created_at=3)],
        ),
    )
    pod = inventory.pods["u1"]
    assert [s.id for s in pod.sandboxes] == ["b", "c", "d", "a"]
    assert [c.id for c in pod.containers] == ["y", "x", "z"]
    assert pod.created_at == 5, "the last one iterated wins"


def test_a_container_without_a_listed_sandbox_still_makes_a_pod() -> None:
    inventory = Inventory()
    assert read(inventory, ([], [container("c", "lonely")])) == {"lonely"}
    pod = inventory.pods["lonely"]
    assert (pod.name, pod.namespace, pod.created_at, pod.sandboxes) == ("p", "ns", 0, ())
    assert inventory.running_pods == 0


def test_all_unlabelled_containers_collapse_into_one_pod_without_uid() -> None:
    inventory = Inventory()
    bare = [container("a"), container("b")]
    for item in bare:
        item.ClearField("labels")
    assert read(inventory, ([], bare)) == {""}
    assert [c.id for c in inventory.pods[""].containers] == ["a", "b"]
    assert inventory.pods[""].name == ""


def test_without_metadata_an_entry_is_passed_over() -> None:
    inventory = Inventory()
    one, two = sandbox("s"), container("c")
    one.ClearField("metadata")
    two.ClearField("metadata")
    assert read(inventory, ([one], [two])) == set()
    assert inventory.pods == {}
    assert inventory.container_states == {}


@pytest.mark.parametrize("broken", ["no sandbox id", "no container id", "no image"])
def test_what_cannot_be_converted_leaves_its_pod_with_what_else_it_has(broken: str) -> None:
    inventory = Inventory()
    one, two = sandbox("s"), container("c")
    if broken == "no sandbox id":
        one.id = ""
    elif broken == "no container id":
        two.id = ""
    else:
        two.ClearField("image")
    read(inventory, ([one], [two]))
    pod = inventory.pods["u1"]
    assert len(pod.sandboxes) == (broken != "no sandbox id")
    assert len(pod.containers) == (broken == "no sandbox id")
    assert read(inventory, ([one], [])) == {"u1"}
    assert read(inventory, ([], [])) == {"u1"}
    assert inventory.pods == {}
