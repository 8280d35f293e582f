"""The state table: which events an old and a new sighting of a pod mean, and in which order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pleg.lifecycle import PlegState, compute_events, states, transition
from pleg.pods import Container, ContainerState, EventType, Pod, Sandbox, SandboxState

RUNNING, EXITED, UNKNOWN, GONE = "running", "exited", "unknown", "non-existent"
STARTED, DIED, CHANGED, REMOVED = "ContainerStarted", "ContainerDied", "ContainerChanged", "ContainerRemoved"

#: Section 2.5 of the reference, row by row.
TABLE = {
    (RUNNING, RUNNING): [],
    (RUNNING, EXITED): [DIED],
    (RUNNING, UNKNOWN): [CHANGED],
    (RUNNING, GONE): [DIED, REMOVED],
    (EXITED, RUNNING): [STARTED],
    (EXITED, EXITED): [],
    (EXITED, UNKNOWN): [CHANGED],
    (EXITED, GONE): [REMOVED],
    (UNKNOWN, RUNNING): [STARTED],
    (UNKNOWN, EXITED): [DIED],
    (UNKNOWN, UNKNOWN): [],
    (UNKNOWN, GONE): [DIED, REMOVED],
    (GONE, RUNNING): [STARTED],
    (GONE, EXITED): [DIED],
    (GONE, UNKNOWN): [CHANGED],
    (GONE, GONE): [],
}

CONTAINERS = {
    ContainerState.RUNNING: RUNNING,
    ContainerState.EXITED: EXITED,
    ContainerState.CREATED: UNKNOWN,
    ContainerState.UNKNOWN: UNKNOWN,
    None: GONE,
}
SANDBOXES = {SandboxState.READY: RUNNING, SandboxState.NOTREADY: EXITED, SandboxState.UNKNOWN: UNKNOWN, None: GONE}


def container(id_: str, state: ContainerState = ContainerState.RUNNING) -> Container:
    return Container(id_, f"name-{id_}", state, 1)


def sandbox(id_: str, state: SandboxState = SandboxState.READY) -> Sandbox:
    return Sandbox(id_, state, 1)


def pod(*members: Container | Sandbox) -> Pod:
    return Pod(
        "1234",
        sandboxes=tuple(m for m in members if isinstance(m, Sandbox)),
        containers=tuple(m for m in members if isinstance(m, Container)),
    )


def events(old: Pod | None, new: Pod | None) -> list[tuple[str | None, str]]:
    found = compute_events("1234", old, new)
    assert all(event.uid == "1234" for event in found)
    return [(event.data, str(event.type)) for event in found]


@pytest.mark.parametrize(("old", "new"), list(TABLE))
def test_the_table(old: str, new: str) -> None:
    assert [str(type_) for type_ in transition(PlegState(old), PlegState(new))] == TABLE[old, new]


def test_the_table_here_is_whole() -> None:
    assert set(TABLE) == set(itertools.product(map(str, PlegState), repeat=2))


@pytest.mark.parametrize(("old", "new"), list(itertools.product(CONTAINERS, repeat=2)))
def test_containers_go_through_the_table(old: ContainerState | None, new: ContainerState | None) -> None:
    before = pod(*([] if old is None else [container("c", old)]))
    after = pod(*([] if new is None else [container("c", new)]))
    assert events(before, after) == [("c", type_) for type_ in TABLE[CONTAINERS[old], CONTAINERS[new]]]


@pytest.mark.parametrize(("old", "new"), list(itertools.product(SANDBOXES, repeat=2)))
def test_sandboxes_go_through_the_same_table(old: SandboxState | None, new: SandboxState | None) -> None:
    before = pod(*([] if old is None else [sandbox("s", old)]))
    after = pod(*([] if new is None else [sandbox("s", new)]))
    assert events(before, after) == [("s", type_) for type_ in TABLE[SANDBOXES[old], SANDBOXES[new]]]


def test_created_is_unknown_so_created_to_unknown_is_no_change() -> None:
    assert events(pod(container("c", ContainerState.CREATED)), pod(container("c", ContainerState.UNKNOWN))) == []


def test_died_comes_before_removed() -> None:
    assert events(pod(container("c")), None) == [("c", DIED), ("c", REMOVED)]


def test_events_follow_the_union_old_containers_old_sandboxes_new_containers_new_sandboxes() -> None:
    old = pod(sandbox("s2"), container("c2"), container("c1"), sandbox("s1"))
    new = pod(sandbox("s3"), container("c3"), container("c0"), sandbox("s0"))
    order = list(dict.fromkeys(id_ for id_, _ in events(old, new)))
    assert order == ["c2", "c1", "s2", "s1", "c3", "c0", "s3", "s0"]


def test_what_is_in_both_is_looked_at_once_in_its_old_place() -> None:
    old = pod(container("a"), container("b"))
    new = pod(container("b", ContainerState.EXITED), container("a", ContainerState.EXITED))
    assert events(old, new) == [("a", DIED), ("b", DIED)]


def test_an_id_that_is_both_container_and_sandbox_counts_once_as_the_container() -> None:
    """`getContainersFromPods` de-duplicates on the raw id, and containers are searched first."""
    assert states(pod(container("x", ContainerState.EXITED), sandbox("x"))) == {"x": PlegState.EXITED}
    assert events(None, pod(container("x", ContainerState.EXITED), sandbox("x"))) == [("x", DIED)]


def test_no_pod_before_and_after_means_nothing() -> None:
    assert events(None, None) == []
    assert events(None, pod()) == []
    assert events(pod(), None) == []


def test_data_is_the_id_not_the_name() -> None:
    assert compute_events("u", None, pod(container("c1")))[0].data == "c1"


members = st.dictionaries(
    st.sampled_from("abcdef"),
    st.one_of(st.sampled_from(ContainerState), st.sampled_from(SandboxState)),
    max_size=6,
)


def build(drawn: dict[str, ContainerState | SandboxState]) -> Pod:
    return pod(*(container(i, s) if isinstance(s, ContainerState) else sandbox(i, s) for i, s in drawn.items()))


@given(members, members)
def test_each_id_has_the_events_of_its_own_row_and_no_others(
    old: dict[str, ContainerState | SandboxState], new: dict[str, ContainerState | SandboxState]
) -> None:
    def word(drawn: dict[str, ContainerState | SandboxState], id_: str) -> str:
        state = drawn.get(id_)
        return SANDBOXES[state] if isinstance(state, SandboxState) else CONTAINERS[state]

    found = compute_events("u", build(old), build(new))
    for id_ in old.keys() | new.keys():
        assert [str(e.type) for e in found if e.data == id_] == TABLE[word(old, id_), word(new, id_)]
    assert {e.data for e in found} <= old.keys() | new.keys()


@given(members)
def test_an_unchanged_pod_has_no_events(drawn: dict[str, ContainerState | SandboxState]) -> None:
    assert compute_events("u", build(drawn), build(drawn)) == []


def test_event_types_are_the_kubelets_words() -> None:
    assert [str(type_) for type_ in EventType] == [STARTED, DIED, REMOVED, CHANGED, "PodSync"]
