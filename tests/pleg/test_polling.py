"""Polling, as kubelets did up to 1.1: a worker per pod, each on its own, at a cost in proportion to the pods."""

from __future__ import annotations

import random

import pytest

from cri.clock import MILLISECOND, SECOND, VIRTUAL_EPOCH
from cri.transport import Code, CriError
from pleg.generators.polling import PollingWorkers
from pleg.pods import PodStatus
from tests.pleg.support import Bench, virtual

STARTED, DIED, REMOVED = "ContainerStarted", "ContainerDied", "ContainerRemoved"
PERIOD = 10 * SECOND


class PollingBench(Bench):
    def __init__(self, *, seed: int = 1, capacity: int = 100, period: int = PERIOD) -> None:
        super().__init__(capacity=capacity)
        self.polling = PollingWorkers(
            self.client, self.cache, self.channel, self.clock, self.hooks, random.Random(seed), period=period
        )

    def pod(self, uid: str) -> None:
        self.runtime.sandbox(f"s-{uid}", uid)
        self.runtime.container(f"c-{uid}", uid, sandbox=f"s-{uid}")

    def polls(self, uid: str) -> list[int]:
        """When the pod's worker began to look."""
        return [call.at for call in self.runtime.calls if call.rpc == "ListPodSandbox" and call.uid == uid]

    def discoveries(self) -> list[int]:
        return [call.at for call in self.runtime.calls if call.rpc == "ListPodSandbox" and not call.uid]


@virtual
async def test_a_worker_lists_its_own_pod_reads_its_statuses_and_writes_the_cache() -> None:
    bench = PollingBench()
    bench.pod("a")
    async with bench.running(bench.polling.run):
        await bench.until(PERIOD)
    [first] = bench.polls("a")
    calls = [(call.rpc, call.id or call.uid) for call in bench.runtime.calls]
    assert calls[1:5] == [
        ("ListPodSandbox", "a"),
        ("ListContainers", "a"),
        ("PodSandboxStatus", "s-a"),
        ("ContainerStatus", "c-a"),
    ]
    assert bench.sorted_events() == [("a", "c-a", STARTED), ("a", "s-a", STARTED)]
    entry = bench.cache.entry("a")
    assert entry is not None
    assert entry.modified == VIRTUAL_EPOCH + first, "dated before the lists"


@virtual
async def test_each_worker_looks_every_ten_seconds_from_a_phase_of_its_own() -> None:
    bench = PollingBench()
    for uid in "abcdef":
        bench.pod(uid)
    async with bench.running(bench.polling.run):
        await bench.until(60 * SECOND)
    phases = {uid: bench.polls(uid)[0] for uid in "abcdef"}
    assert len(set(phases.values())) == 6
    assert all(0 <= phase <= PERIOD + MILLISECOND for phase in phases.values())
    for uid in "abcdef":
        gaps = [later - earlier for earlier, later in zip(bench.polls(uid), bench.polls(uid)[1:], strict=False)]
        assert {round(gap / MILLISECOND) for gap in gaps} == {10_004}, "a pause after the four calls of a look"


@virtual
async def test_phases_are_decided_by_the_seed() -> None:
    found = []
    for seed in (1, 1, 2):
        bench = PollingBench(seed=seed)
        for uid in "abc":
            bench.pod(uid)
        begin = bench.clock.monotonic()
        async with bench.running(bench.polling.run):
            await bench.until(begin + 2 * PERIOD)
        found.append([bench.polls(uid)[0] - begin for uid in "abc"])
    assert [round(phase / MILLISECOND) for phase in found[0]] == [round(phase / MILLISECOND) for phase in found[1]]
    assert found[0] != found[2]


@virtual
async def test_statuses_are_read_at_each_look_whether_anything_changed_or_not() -> None:
    bench = PollingBench()
    bench.pod("a")
    async with bench.running(bench.polling.run):
        await bench.until(35 * SECOND)
    looks = len(bench.polls("a"))
    assert looks >= 3
    assert len([call for call in bench.runtime.calls if call.rpc == "ContainerStatus"]) == looks


@virtual
async def test_new_pods_are_found_by_one_list_of_sandboxes_per_period_counted_apart() -> None:
    bench = PollingBench()
    async with bench.running(bench.polling.run):
        await bench.until(5 * SECOND)
        bench.pod("late")
        await bench.until(10 * SECOND)
        assert bench.polls("late") == []
        await bench.until(25 * SECOND)
        assert len(bench.polls("late")) >= 1
        assert [at // SECOND for at in bench.discoveries()] == [0, 10, 20]
    callers = {call.caller for call in bench.hooks.of("call_started") if call.rpc == "ListPodSandbox"}
    assert callers == {"pod discovery", "pleg"}
    unfiltered = [call for call in bench.runtime.calls if call.rpc == "ListContainers" and not call.uid]
    assert unfiltered == [], "the discovery asks for nothing else"


@virtual
async def test_each_discovery_declares_the_cache_fresh_as_of_its_start() -> None:
    bench = PollingBench()
    bench.runtime.delays["ListPodSandbox"] = SECOND
    async with bench.running(bench.polling.run):
        await bench.until(500 * MILLISECOND)
        times = [bench.cache.time]
        for second in (2, 13):
            await bench.until(second * SECOND)
            times.append(bench.cache.time)
    assert times == [None, VIRTUAL_EPOCH, VIRTUAL_EPOCH + 11 * SECOND]


@virtual
async def test_a_discovery_that_fails_is_logged_and_tried_again() -> None:
    bench = PollingBench()
    bench.pod("a")
    bench.runtime.fail("ListPodSandbox/all", Code.UNAVAILABLE, "down", times=2)
    async with bench.running(bench.polling.run):
        await bench.until(19 * SECOND)
        assert bench.cache.time is None
        await bench.until(35 * SECOND)
    assert len(bench.hooks.logged("Unable to list pods")) == 2
    assert "a" in bench.cache


@virtual
async def test_events_come_from_the_workers_own_record() -> None:
    bench = PollingBench()
    bench.pod("a")
    async with bench.running(bench.polling.run):
        await bench.until(12 * SECOND)
        bench.events()
        bench.runtime.container("c-a", "a", "exited", sandbox="s-a")
        bench.runtime.container("new", "a", "created", sandbox="s-a")
        await bench.until(24 * SECOND)
        assert bench.sorted_events() == [("a", "c-a", DIED)], "created is unknown and never sent"
        bench.runtime.remove("c-a")
        await bench.until(36 * SECOND)
        assert bench.sorted_events() == [("a", "c-a", REMOVED)]


@virtual
async def test_a_pod_that_is_gone_is_deleted_reported_and_its_worker_ends() -> None:
    bench = PollingBench()
    bench.pod("a")
    async with bench.running(bench.polling.run):
        await bench.until(12 * SECOND)
        bench.events()
        bench.runtime.remove("s-a", "c-a")
        await bench.until(24 * SECOND)
        assert bench.sorted_events() == [
            ("a", "c-a", DIED),
            ("a", "c-a", REMOVED),
            ("a", "s-a", DIED),
            ("a", "s-a", REMOVED),
        ]
        assert bench.cache.get("a") == (PodStatus("a"), None)
        bench.runtime.asked()
        await bench.until(60 * SECOND)
        assert bench.polls("a") == []
        bench.pod("a")
        await bench.until(90 * SECOND)
        assert bench.sorted_events() == [("a", "c-a", STARTED), ("a", "s-a", STARTED)]


@pytest.mark.parametrize("which", ["ListPodSandbox/a", "ListContainers/a", "PodSandboxStatus", "ContainerStatus"])
@virtual
async def test_a_failure_is_cached_and_keeps_the_record(which: str) -> None:
    bench = PollingBench()
    bench.pod("a")
    async with bench.running(bench.polling.run):
        await bench.until(12 * SECOND)
        bench.events()
        bench.runtime.fail(which, message="stuck")
        bench.runtime.container("c-a", "a", "exited", sandbox="s-a")
        await bench.until(24 * SECOND)
        status, error = bench.cache.get("a")
        assert status is None
        assert isinstance(error, CriError)
        assert bench.events() == []
        bench.runtime.heal()
        await bench.until(36 * SECOND)
        assert bench.sorted_events() == [("a", "c-a", DIED)]
        assert [c.id for c in bench.status("a").containers] == ["c-a"]


@virtual
async def test_one_hanging_pod_holds_up_no_other() -> None:
    bench = PollingBench()
    bench.pod("bad")
    bench.pod("good")
    bench.runtime.hang("ContainerStatus/c-bad")
    async with bench.running(bench.polling.run):
        await bench.until(100 * SECOND)
    assert len(bench.polls("bad")) == 1
    assert len(bench.polls("good")) in (9, 10)


@virtual
async def test_there_are_no_relists_and_a_full_channel_drops() -> None:
    bench = PollingBench(capacity=1)
    bench.pod("a")
    async with bench.running(bench.polling.run):
        await bench.until(15 * SECOND)
    for silent in ("relist_started", "relist_ended", "pod_relist_ended", "last_seen"):
        assert bench.hooks.of(silent) == []
    assert len(bench.hooks.of("event_discarded")) == 1
    assert bench.channel.discarded == 1


@virtual
async def test_what_runs_is_reported_at_each_discovery_as_far_as_the_workers_have_seen_it() -> None:
    bench = PollingBench()
    bench.pod("a")
    bench.pod("b")
    bench.runtime.container("c-b", "b", "exited", sandbox="s-b")
    async with bench.running(bench.polling.run):
        await bench.until(SECOND)
        assert bench.hooks.of("running_pods") == [2]
        await bench.until(15 * SECOND)
        assert [(str(state), count) for state, count in bench.hooks.of("running_containers")] == [
            ("running", 1),
            ("exited", 1),
        ]


@virtual
async def test_ips_are_kept_as_in_generic() -> None:
    bench = PollingBench()
    bench.runtime.sandbox("s-a", "a", ip="10.0.0.1")
    async with bench.running(bench.polling.run):
        await bench.until(12 * SECOND)
        bench.runtime.sandbox("s-a", "a", "notready")
        await bench.until(24 * SECOND)
        assert bench.status("a").ips == ("10.0.0.1",)
