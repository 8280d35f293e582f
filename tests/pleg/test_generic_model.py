"""The generic PLEG under random changes and faults: when they end, one relist later its cache is the runtime's state,
and the events of each container are a path of the state table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cri.clock import MILLISECOND, SECOND, seconds
from cri.virtual_time import run_virtual
from pleg.lifecycle import CONTAINER_STATE, SANDBOX_STATE, PlegState
from pleg.pods import ContainerState, SandboxState
from tests.pleg.paths import follow_all
from tests.pleg.scripted_runtime import STATES, ScriptedRuntime
from tests.pleg.support import Bench, run_in_trio

UIDS = ("a", "b", "c")
CONTAINERS = tuple(f"{uid}{number}" for uid in UIDS for number in range(3))
SANDBOXES = tuple(f"s{uid}{number}" for uid in UIDS for number in range(2))

step = st.one_of(
    st.tuples(st.just("container"), st.sampled_from(CONTAINERS), st.sampled_from(["running", "exited"])),
    st.tuples(st.just("container"), st.sampled_from(CONTAINERS), st.sampled_from(["created", "unknown"])),
    st.tuples(st.just("sandbox"), st.sampled_from(SANDBOXES), st.sampled_from(["ready", "notready"])),
    st.tuples(st.just("remove"), st.sampled_from(CONTAINERS + SANDBOXES), st.just("")),
    st.tuples(st.just("relist"), st.sampled_from(UIDS), st.just("")),
    st.tuples(st.just("reinspect"), st.sampled_from(UIDS), st.just("")),
    st.tuples(st.just("fail"), st.sampled_from(["ListPodSandbox", "ListContainers"]), st.just("")),
    st.tuples(st.just("fail one"), st.sampled_from(CONTAINERS + SANDBOXES), st.just("")),
    st.tuples(st.just("heal"), st.just(""), st.just("")),
    st.tuples(st.just("drain"), st.just(""), st.just("")),
)
#: CRI numbers in the order of a life: created, running, unknown, exited.
_ORDER = (0, 1, 3, 2)

pauses = st.sampled_from([0, 1, 2, 3, 5, 300, 1100])


@pytest.mark.parametrize("run", [run_virtual, run_in_trio])
@given(
    st.lists(st.tuples(step, pauses), max_size=40),
    st.booleans(),
    st.sampled_from([3, 1000]),
    st.integers(0, 3),
)
@settings(max_examples=70, deadline=None)
def test_when_faults_end_the_cache_is_the_runtime_and_events_are_paths(
    run: Callable[..., None],
    steps: list[tuple[tuple[str, str, str], int]],
    strange: bool,
    capacity: int,
    seed: int,
) -> None:
    run(_run, steps, strange, capacity, seed)


async def _run(steps: list[tuple[tuple[str, str, str], int]], strange: bool, capacity: int, seed: int) -> None:
    bench = Bench(capacity=capacity, seed=seed)
    async with bench.running():
        for serial, ((what, name, state), pause) in enumerate(steps):
            _take(bench, what, name, state, strange, serial)
            await anyio.sleep(seconds(pause * MILLISECOND))
        bench.runtime.heal()
        await anyio.sleep(seconds(2 * SECOND))
        _compare(bench)
        seen = [(hook, args[0]) for _, hook, args, _ in bench.hooks.seen if hook in ("event_sent", "event_discarded")]
        paths = follow_all(seen, strange=strange)
        truth = _truth(bench.runtime)
        for (uid, id_), path in paths.items():
            actual = truth.get(uid, {}).get(id_, PlegState.NON_EXISTENT)
            assert actual in path.states, "the last event does not lead to where the container is"


def _take(bench: Bench, what: str, name: str, state: str, strange: bool, serial: int) -> None:
    runtime = bench.runtime
    match what:
        case "container" | "sandbox":
            _change(runtime, name, state, strange, serial)
        case "remove":
            runtime.remove(*_alive(runtime, name))
        case "relist":
            bench.generic.request_relist(name)
        case "reinspect":
            bench.generic.request_reinspect(name)
        case "fail":
            runtime.fail(name)
        case "fail one":
            for id_ in _alive(runtime, name):
                runtime.fail(f"{'PodSandboxStatus' if name.startswith('s') else 'ContainerStatus'}/{id_}")
        case "heal":
            runtime.heal()
        case "drain":
            bench.events()


def _alive(runtime: ScriptedRuntime, name: str) -> list[str]:
    """The id that this name has now; one that was removed comes back under another id, as in real runtimes."""
    return [id_ for id_ in (*runtime.containers, *runtime.sandboxes) if id_.startswith(f"{name}-")]


def _change(runtime: ScriptedRuntime, name: str, state: str, strange: bool, serial: int) -> None:
    """Forwards only: no runtime lets a container that ended run again."""
    alive = _alive(runtime, name)
    id_ = alive[0] if alive else f"{name}-{serial}"
    if name.startswith("s"):
        if not alive or state == "notready":
            runtime.sandbox(id_, name[1], state)
    elif state != "unknown" or strange:
        before = runtime.containers[id_].state if alive else -1
        if _ORDER.index(STATES[state]) > (_ORDER.index(before) if alive else -1):
            runtime.container(id_, name[0], state)


def _compare(bench: Bench) -> None:
    runtime = bench.runtime
    cached: dict[str, Any] = {}
    for uid, entry in bench.cache.entries():
        assert entry.error is None
        assert entry.status is not None
        members = {c.id: CONTAINER_STATE[c.state] for c in entry.status.containers}
        cached[uid] = members | {s.id: SANDBOX_STATE[s.state] for s in entry.status.sandboxes}
    assert cached == _truth(runtime)
    counts = Counter(ContainerState(c.state) for c in runtime.containers.values())
    last = dict(bench.hooks.of("running_containers"))
    assert all(last[state] == count for state, count in counts.items())
    ready = {s.metadata.uid for s in runtime.sandboxes.values() if s.state == 0}
    assert bench.hooks.of("running_pods")[-1] == len(ready)


def _truth(runtime: ScriptedRuntime) -> dict[str, Any]:
    """States as a PLEG tells them apart: created to unknown is no change to it, and nothing is inspected for it."""
    truth: dict[str, Any] = {}
    for container in runtime.containers.values():
        truth.setdefault(container.labels["io.kubernetes.pod.uid"], {})[container.id] = CONTAINER_STATE[
            ContainerState(container.state)
        ]
    for sandbox in runtime.sandboxes.values():
        truth.setdefault(sandbox.metadata.uid, {})[sandbox.id] = SANDBOX_STATE[SandboxState(sandbox.state)]
    return truth
