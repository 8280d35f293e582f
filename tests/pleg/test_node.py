"""A whole node: how its parts are wired in each mode, housekeeping, who calls what, and that the seed decides."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from cri.clock import MILLISECOND, SECOND
from cri.virtual_time import run_virtual
from pleg.kubelet import PLEGS, Pleg, Settings
from pleg.pods import EventType, PodLifecycleEvent
from tests.pleg.support import NodeBench, virtual

STARTED, DIED, REMOVED = "ContainerStarted", "ContainerDied", "ContainerRemoved"


def node(pleg: Pleg = "generic", seed: int = 1, **more: Any) -> NodeBench:
    bench = NodeBench(Settings(pleg=pleg, **more), seed=seed)
    for uid in ("a", "b"):
        bench.runtime.sandbox(f"s-{uid}", uid)
        bench.runtime.container(f"c-{uid}", uid, sandbox=f"s-{uid}")
    return bench


def read(bench: NodeBench) -> list[str]:
    return [f"{event.type} {event.data}" for event, _, _ in bench.hooks.of("event_read")]


# --- the life of a pod, in each mode -------------------------------------------------------------------------


@pytest.mark.parametrize("pleg", PLEGS)
@virtual
async def test_a_container_that_ends_is_read_and_its_pod_synced(pleg: Pleg) -> None:
    bench = node(pleg)
    async with bench.running():
        await bench.until(30 * SECOND)
        bench.hooks.clear()
        bench.runtime.container("c-a", "a", "exited", sandbox="s-a")
        if bench.runtime.streams:
            bench.runtime.streams[-1].push(bench.runtime.event("stopped", "c-a", "s-a"))
        await bench.until(60 * SECOND)
    assert read(bench) == [f"{DIED} c-a"]
    assert "a" in [uid for uid, _ in bench.hooks.of("pod_synced")]
    status = bench.node.workers.pods["a"].status
    assert status is not None
    assert [str(c.state) for c in status.containers] == ["exited"]


@pytest.mark.parametrize("pleg", PLEGS)
@virtual
async def test_a_pod_that_is_gone_is_forgotten(pleg: Pleg) -> None:
    bench = node(pleg, evented_relist_period=20 * SECOND)
    async with bench.running():
        await bench.until(30 * SECOND)
        assert set(bench.node.workers.pods) == {"a", "b"}
        bench.runtime.remove("s-a", "c-a")
        await bench.until(60 * SECOND)
        assert set(bench.node.workers.pods) == {"b"}
        assert "a" not in bench.node.cache


@virtual
async def test_a_generic_worker_syncs_again_after_the_next_relist() -> None:
    """5.3: each sync waits for a relist that began after the last one ended: 1 to 2 s."""
    bench = node()
    async with bench.running():
        await bench.until(30 * SECOND)
        bench.hooks.clear()
        bench.runtime.container("c-a", "a", "exited", sandbox="s-a")
        await bench.until(32 * SECOND)
        bench.runtime.container("c-a2", "a", "running", sandbox="s-a", attempt=1)
        await bench.until(40 * SECOND)
    read_at = bench.hooks.times("event_read")
    synced = bench.hooks.times("pod_synced")
    assert len(read_at) == len(synced) == 2
    assert all(0 <= later - earlier < 2 * SECOND for earlier, later in zip(read_at, synced, strict=True))


# --- wiring --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pleg", "problem"),
    [
        ("polling", []),
        ("generic", ["PLEG is not healthy: pleg has yet to be successful"]),
        ("hinted", ["PLEG is not healthy: pleg has yet to be successful"]),
        (
            "evented",
            [
                "PLEG is not healthy: pleg has yet to be successful",
                "EventedPLEG is not healthy: EventedPLEG: pleg event channel capacity is full with 1 events",
            ],
        ),
    ],
)
@virtual
async def test_which_health_checks_there_are_and_in_which_order(pleg: Pleg, problem: list[str]) -> None:
    bench = node(pleg, channel_capacity=1)
    bench.node.channel.send(PodLifecycleEvent("x", EventType.POD_SYNC))
    assert bench.node.runtime_state.runtime_errors()[1:] == problem


@pytest.mark.parametrize("pleg", PLEGS)
@virtual
async def test_periods_and_thresholds_are_the_kubelets(pleg: Pleg) -> None:
    bench = node(pleg)
    generic = bench.node.generic
    if pleg == "polling":
        assert generic is None
    else:
        assert generic is not None
        expected = (300 * SECOND, 600 * SECOND) if pleg == "evented" else (SECOND, 180 * SECOND)
        assert (generic.settings.period, generic.settings.threshold) == expected
    assert bench.node.channel.capacity == 1000
    assert bench.node.settings.runtime_request_timeout == 120 * SECOND


@pytest.mark.parametrize(
    ("pleg", "refuses"), [("polling", False), ("generic", False), ("hinted", True), ("evented", True)]
)
@virtual
async def test_only_behind_the_gate_the_cache_refuses_what_is_older(pleg: Pleg, refuses: bool) -> None:
    cache = node(pleg).node.cache
    cache.set("x", None, None, 10)
    assert cache.set("x", None, None, 9) is not refuses


@virtual
async def test_evented_drops_the_events_of_a_refused_write_and_hinted_sends_them() -> None:
    for pleg, expected in (("evented", []), ("hinted", [f"{DIED} c-a"])):
        bench = node("hinted" if pleg == "hinted" else "evented", evented_relist_period=SECOND)
        begin = bench.clock.monotonic()
        async with bench.running():
            await bench.until(begin + 10 * SECOND)
            bench.hooks.clear()
            status, _ = bench.node.cache.get("a")
            bench.node.cache.set("a", status, None, bench.clock.now() + 1000 * SECOND)
            bench.runtime.container("c-a", "a", "exited", sandbox="s-a")
            await bench.until(begin + 20 * SECOND)
        assert read(bench) == expected


@virtual
async def test_callers_are_told_apart() -> None:
    bench = node("hinted")
    async with bench.running():
        await bench.until(10 * SECOND)
        bench.runtime.streams[-1].push(bench.runtime.event("stopped", "c-a", "s-a"))
        await bench.until(12 * SECOND)
    callers = {(call.rpc, call.caller) for call in bench.hooks.of("call_started")}
    assert callers == {
        ("ListPodSandbox", "pleg"),
        ("ListContainers", "pleg"),
        ("PodSandboxStatus", "pleg"),
        ("ContainerStatus", "pleg"),
        ("ListPodSandbox", "one-pod relist"),
        ("ListContainers", "one-pod relist"),
        ("ListPodSandbox", "housekeeping"),
        ("ListContainers", "housekeeping"),
        ("Status", "status"),
        ("Version", "status"),
        ("GetContainerEvents", "event stream"),
    }


@pytest.mark.parametrize("pleg", PLEGS)
@virtual
async def test_at_rest_it_costs_what_the_kubelet_costs(pleg: Pleg) -> None:
    """peers.md: 1.5 list pairs a second with a relist each second, a third of it by housekeeping; Status 0.2/s."""
    bench = node(pleg)
    async with bench.running():
        await bench.until(100 * SECOND)
        bench.runtime.asked()
        await bench.until(160 * SECOND)
    asked = bench.runtime.asked()
    relists = {"generic": 60, "hinted": 60, "evented": 0, "polling": 6}[pleg]
    assert abs(asked.count("ListPodSandbox") - (30 + relists)) <= 1
    assert abs(asked.count("Status") - 12) <= 1
    assert abs(asked.count("ListPodSandbox/a") - (6 if pleg == "polling" else 0)) <= 1


# --- evented's deadlock --------------------------------------------------------------------------------------


FULL = "EventedPLEG is not healthy: EventedPLEG: pleg event channel capacity is full with 6 events"


@virtual
async def test_k72482_evented_with_a_full_channel_never_recovers() -> None:
    """3.4: full, so unhealthy, so the loop reads nothing, so it stays full. Generic's check has no such shape."""
    for pleg in ("generic", "evented"):
        bench = node("evented" if pleg == "evented" else "generic", channel_capacity=6)
        begin = bench.clock.monotonic()
        async with bench.running():
            await bench.until(begin + 20500 * MILLISECOND)
            bench.runtime.hang("ListContainers/all")
            await bench.until(begin + 22500 * MILLISECOND)  # housekeeping holds the loop since 22 s
            for _ in range(6):
                bench.node.channel.send(PodLifecycleEvent("a", EventType.POD_SYNC))
            bench.runtime.heal()
            await bench.until(begin + 1000 * SECOND)
            full = len(bench.node.channel)
            [condition] = bench.node.conditions()
            healthz = bench.node.sync_loop_error()
        if pleg == "evented":
            assert (full, condition.message, healthz) == (6, FULL, "sync Loop took longer than expected")
            assert bench.skips()[-1][1] == FULL
        else:
            assert (full, condition.status, healthz) == (0, "True", None)


@virtual
async def test_a_first_relist_that_fills_the_channel_stops_evented_before_its_loop_ever_turned() -> None:
    """The same shape at start-up: the loop skips for 100 ms, and more than the channel holds comes in that time."""
    bench = node("evented", channel_capacity=4)
    async with bench.running():
        await bench.until(1000 * SECOND)
        assert len(bench.node.channel) == 4
        assert bench.hooks.of("event_read") == []


# --- determinism ---------------------------------------------------------------------------------------------


async def _log(pleg: Pleg, seed: int) -> list[str]:
    bench = node(pleg, seed)
    for number in range(10):
        bench.runtime.container(f"x{number}", f"u{number}")
    async with bench.running():
        await bench.until(15 * SECOND)
        for number in range(10):
            bench.runtime.container(f"x{number}", f"u{number}", "exited")
        await bench.until(80 * SECOND)
    return [
        f"{at} {hook} {args}" for at, hook, args, _ in bench.hooks.seen if hook.startswith(("event", "pod", "node"))
    ]


@pytest.mark.parametrize("pleg", PLEGS)
def test_the_same_seed_gives_the_same_log_and_another_seed_another(pleg: Pleg) -> None:
    logs = [run_virtual(partial(_log, pleg, seed)) for seed in (1, 1, 2)]
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]
