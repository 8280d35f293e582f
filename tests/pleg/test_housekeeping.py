"""Housekeeping: what runs becomes known, what is gone is forgotten, and its lists are its own (section 5.1)."""

from __future__ import annotations

import random
from typing import Any

from cri.clock import SECOND
from cri.transport import Code
from pleg.kubelet import Pleg, Settings
from pleg.node.housekeeping import Housekeeping
from pleg.node.pod_workers import PodWorkers
from pleg.pods import EventType, PodLifecycleEvent
from tests.pleg.support import Bench, NodeBench, running, virtual


def node(pleg: Pleg = "generic", **more: Any) -> NodeBench:
    bench = NodeBench(Settings(pleg=pleg, **more))
    for uid in ("a", "b"):
        bench.runtime.sandbox(f"s-{uid}", uid)
        bench.runtime.container(f"c-{uid}", uid, sandbox=f"s-{uid}")
    return bench


def read(bench: NodeBench) -> list[str]:
    return [f"{event.type} {event.data}" for event, _, _ in bench.hooks.of("event_read")]


@virtual
async def test_housekeeping_asks_for_what_runs() -> None:
    bench = node()
    async with bench.running():
        await bench.until(3 * SECOND)
    asked = [call for call in bench.runtime.calls if "List" in call.rpc and call.request.filter.HasField("state")]
    assert [(call.rpc, call.request.filter.state.state) for call in asked] == [
        ("ListPodSandbox", 0),
        ("ListContainers", 1),
    ]
    assert asked[0].at == 2 * SECOND, "its ticker starts with the loop, skipped turns or not"


@virtual
async def test_a_pod_whose_events_were_all_discarded_is_found_by_housekeeping() -> None:
    bench = node(channel_capacity=1)
    async with bench.running():
        await bench.until(30 * SECOND)
        assert set(bench.node.workers.pods) == {"a", "b"}
        bench.runtime.remove("s-a", "c-a")
        await bench.until(60 * SECOND)
        assert set(bench.node.workers.pods) == {"b"}


@virtual
async def test_housekeeping_that_fails_is_logged_and_tried_again() -> None:
    bench = node()
    async with bench.running():
        await bench.until(10 * SECOND)
        bench.runtime.fail("ListContainers", Code.UNAVAILABLE, "down")
        await bench.until(20 * SECOND)
        bench.runtime.heal()
        await bench.until(30 * SECOND)
    failed = bench.hooks.logged("Failed cleaning pods")
    assert len(failed) == 5
    assert failed[0][1]["severity"] == "E"
    assert bench.hooks.logged("Housekeeping took longer than expected") == []


@virtual
async def test_k75065_a_container_that_cannot_be_inspected_leaves_the_node_ready_and_its_pod_without_events() -> None:
    bench = node()
    async with bench.running():
        await bench.until(10 * SECOND)
        bench.hooks.clear()
        bench.runtime.container("c-a", "a", "exited", sandbox="s-a")
        bench.runtime.fail("ContainerStatus/c-a", message="shim is gone")
        await bench.until(100 * SECOND)
    assert {status for _, status, _ in bench.conditions()} == {"True"}
    assert read(bench) == []
    assert bench.hooks.logged("PLEG: Write status") != []


@virtual
async def test_a_pod_of_which_nothing_runs_is_kept_as_long_as_the_cache_holds_it() -> None:
    bench = node()
    async with bench.running():
        await bench.until(10 * SECOND)
        bench.runtime.sandbox("s-a", "a", "notready")
        bench.runtime.container("c-a", "a", "exited", sandbox="s-a")
        await bench.until(30 * SECOND)
        assert set(bench.node.workers.pods) == {"a", "b"}


@virtual
async def test_while_events_are_on_their_way_nothing_is_forgotten() -> None:
    """They may be about pods that are gone, and are to be read as of pods that are known."""
    bench = Bench()
    workers = PodWorkers(bench.cache, bench.clock, bench.hooks, random.Random(1))
    housekeeping = Housekeeping(bench.client, bench.cache, bench.channel, workers, bench.clock, bench.hooks)
    async with running() as tasks:
        workers.start(tasks)
        workers.update_pod("gone", "default", "gone")
        bench.channel.send(PodLifecycleEvent("gone", EventType.CONTAINER_REMOVED, "c"))
        await housekeeping.run_once()
        assert "gone" in workers.pods
        bench.channel.receive()
        await housekeeping.run_once()
        assert "gone" not in workers.pods


@virtual
async def test_what_runs_and_was_never_reported_becomes_known() -> None:
    """Of a polling node, say, whose worker for it waits for its phase."""
    bench = node("polling", poll_period=1000 * SECOND)
    async with bench.running():
        await bench.until(5 * SECOND)
        assert set(bench.node.workers.pods) == {"a", "b"}
