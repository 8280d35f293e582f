"""Relists of one pod on demand: what they do, what they leave alone, and when they are passed over (section 2.4)."""

from __future__ import annotations

import pytest

from cri.clock import MILLISECOND, SECOND, VIRTUAL_EPOCH
from cri.transport import Code
from pleg.pods import PodNotFound, PodStatus
from tests.pleg.support import Bench, virtual

STARTED, DIED, REMOVED, POD_SYNC = "ContainerStarted", "ContainerDied", "ContainerRemoved", "PodSync"
QUIET = ["ListPodSandbox", "ListContainers"]


def one_pod(**more: int) -> Bench:
    bench = Bench(**more)  # type: ignore[arg-type]
    bench.runtime.sandbox("s1", "1234")
    bench.runtime.container("c1", "1234", sandbox="s1")
    return bench


@virtual
async def test_a_request_is_served_at_once_between_global_relists() -> None:
    bench = one_pod()
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        bench.events()
        bench.runtime.asked()
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        bench.generic.request_relist("1234")
        await bench.until(505 * MILLISECOND)
        assert bench.sorted_events() == [("1234", "c1", DIED)]
        assert bench.runtime.asked() == [
            "ListPodSandbox/1234",
            "ListContainers/1234",
            "PodSandboxStatus/s1",
            "ContainerStatus/c1",
        ]
        [(uid, duration, error)] = bench.hooks.of("pod_relist_ended")
        assert (uid, duration, error) == ("1234", 4 * MILLISECOND, None)
        await bench.until(1500 * MILLISECOND)
        assert bench.sorted_events() == [], "the global relist has nothing to add"
        assert bench.runtime.asked() == QUIET


@virtual
async def test_an_unchanged_pod_costs_two_filtered_lists() -> None:
    bench = one_pod()
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        bench.runtime.asked()
        bench.generic.request_relist("1234")
        await bench.until(600 * MILLISECOND)
        assert bench.runtime.asked() == ["ListPodSandbox/1234", "ListContainers/1234"]
    assert {call.caller for call in bench.hooks.of("call_started")} == {"pleg", "one-pod relist"}


@virtual
async def test_it_refreshes_neither_health_nor_gauges_nor_the_caches_time() -> None:
    bench = one_pod()
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        bench.hooks.clear()
        relist_time, cache_time = bench.generic.relist_time, bench.cache.time
        bench.runtime.container("c2", "1234", sandbox="s1")
        bench.generic.request_relist("1234")
        await bench.until(600 * MILLISECOND)
        assert (bench.generic.relist_time, bench.cache.time) == (relist_time, cache_time)
        for silent in ("running_pods", "running_containers", "relist_started", "relist_ended"):
            assert bench.hooks.of(silent) == []
        bench.generic.healthy()
        assert bench.hooks.of("last_seen") == [VIRTUAL_EPOCH // SECOND]


@virtual
async def test_a_stream_of_them_cannot_make_the_pleg_look_healthy() -> None:
    bench = one_pod()
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        bench.runtime.fail("ListPodSandbox/all")
        for second in range(1, 182):
            await bench.until(second * SECOND)
            bench.generic.request_relist("1234")
        assert len(bench.hooks.of("pod_relist_ended")) > 170
        assert bench.generic.healthy() == "pleg was last seen active 3m1s ago; threshold is 3m0s"


@virtual
async def test_the_observed_time_answers_a_reader_of_an_unchanged_pod() -> None:
    bench = one_pod()
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        modified = bench.clock.now()
        bench.generic.request_relist("1234")
        status, _ = await bench.cache.get_newer_than("1234", modified - 1)
        assert bench.clock.monotonic() == 502 * MILLISECOND
        assert status is bench.status("1234")
        entry = bench.cache.entry("1234")
        assert entry is not None
        assert (entry.modified, entry.observed) == (VIRTUAL_EPOCH, modified), "the time before its lists"


@virtual
async def test_the_observed_time_is_set_after_a_failed_inspection_too() -> None:
    bench = one_pod()
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        asked = bench.clock.now()
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        bench.runtime.fail("ContainerStatus/c1", times=1)
        bench.events()
        bench.generic.request_relist("1234")
        await bench.until(600 * MILLISECOND)
        entry = bench.cache.entry("1234")
        assert entry is not None
        assert (entry.status, entry.observed) == (None, asked)
        assert bench.events() == []
        await bench.until(1500 * MILLISECOND)
        assert bench.sorted_events() == [("1234", "c1", DIED)], "the record had stayed for the global relist"


# --- what cannot be had --------------------------------------------------------------------------------------


@virtual
async def test_a_pod_that_is_gone_is_only_logged_and_left_to_the_global_relist() -> None:
    bench = one_pod()
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        bench.events()
        bench.runtime.remove("s1", "c1")
        bench.generic.request_relist("1234")
        await bench.until(600 * MILLISECOND)
        assert bench.events() == []
        assert "1234" in bench.cache
        [(_, values)] = bench.hooks.logged("GenericPLEG: Unable to retrieve pod")
        assert (values["podUID"], str(values["err"]), values["severity"]) == ("1234", "pod not found", "E")
        [(_, _, error)] = bench.hooks.of("pod_relist_ended")
        assert isinstance(error, PodNotFound)
        await bench.until(1500 * MILLISECOND)
        assert len(bench.sorted_events()) == 4
        assert bench.cache.get("1234") == (PodStatus("1234"), None)


@pytest.mark.parametrize("rpc", ["ListPodSandbox", "ListContainers"])
@virtual
async def test_a_list_that_fails_is_only_logged(rpc: str) -> None:
    bench = one_pod()
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        bench.runtime.fail(f"{rpc}/1234", Code.UNAVAILABLE, "down")
        bench.generic.request_relist("1234")
        await bench.until(600 * MILLISECOND)
        [(_, values)] = bench.hooks.logged("GenericPLEG: Unable to retrieve pod")
        assert str(values["err"]) == "rpc error: code = Unavailable desc = down"
        bench.status("1234")


# --- which requests are served -------------------------------------------------------------------------------


@virtual
async def test_a_request_from_before_the_last_global_relist_is_passed_over() -> None:
    bench = one_pod()
    bench.runtime.sandbox("slow", "slow")
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        bench.runtime.delays["ListContainers"] = 2 * SECOND
        bench.generic.request_relist("slow")
        await bench.until(600 * MILLISECOND)
        bench.generic.request_relist("1234")  # waits behind the slow one, and then the global relist is due
        bench.runtime.asked()
        await bench.until(6 * SECOND)
    assert "ListPodSandbox/1234" not in bench.runtime.asked()
    assert [uid for uid, _, _ in bench.hooks.of("pod_relist_ended")] == ["slow"]


@virtual
async def test_a_request_made_while_a_global_relist_runs_is_served_after_it() -> None:
    bench = one_pod()
    bench.runtime.delays["ListContainers"] = 300 * MILLISECOND
    async with bench.running():
        await bench.until(100 * MILLISECOND)
        bench.generic.request_relist("1234")
        await bench.until(900 * MILLISECOND)
    assert bench.runtime.asked()[-2:] == ["ListPodSandbox/1234", "ListContainers/1234"]


@virtual
async def test_a_request_of_the_same_instant_as_the_start_of_a_relist_is_passed_over() -> None:
    """Served is what came strictly after it."""
    bench = one_pod()
    bench.generic.request_relist("1234")
    async with bench.running():
        await bench.until(500 * MILLISECOND)
    assert bench.hooks.of("pod_relist_ended") == []


@virtual
async def test_before_any_good_relist_every_request_is_served() -> None:
    bench = one_pod()
    bench.runtime.fail("ListPodSandbox", times=1)
    async with bench.running():
        await bench.until(10 * MILLISECOND)
        bench.generic.request_relist("1234")
        await bench.until(500 * MILLISECOND)
        assert bench.sorted_events() == [("1234", "c1", STARTED), ("1234", "s1", STARTED)]
        assert bench.generic.healthy() == "pleg has yet to be successful"
        await bench.until(1500 * MILLISECOND)
        assert bench.events() == [], "the first global relist finds nothing new"


@virtual
async def test_there_is_no_merging() -> None:
    bench = one_pod()
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        for _ in range(10):
            bench.generic.request_relist("1234")
        await bench.until(600 * MILLISECOND)
    assert len(bench.hooks.of("pod_relist_ended")) == 10


@virtual
async def test_a_due_global_relist_goes_first() -> None:
    bench = one_pod()
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        bench.runtime.delays["ListContainers"] = 100 * MILLISECOND
        for _ in range(20):
            bench.generic.request_relist("1234")
        await bench.until(1500 * MILLISECOND)
        served = len(bench.hooks.of("pod_relist_ended"))
        assert served == 5, "when the one under way at 1.004 s was done the global relist came, and took all others"
        assert len(bench.hooks.of("relist_ended")) == 2


@virtual
async def test_the_queue_holds_two_hundred_and_drops_with_a_log_line() -> None:
    bench = one_pod()
    for number in range(203):
        bench.generic.request_relist(f"u{number}")
    dropped = bench.hooks.logged("Relist request channel full; dropping relist request")
    assert [(values["severity"], values["podUID"]) for _, values in dropped] == [
        ("E", "u200"),
        ("E", "u201"),
        ("E", "u202"),
    ]


# --- together with the global relist -------------------------------------------------------------------------


@virtual
async def test_a_hung_one_blocks_the_global_relist_and_health_follows() -> None:
    bench = one_pod()
    bench.runtime.sandbox("s2", "4567")
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        bench.runtime.hang("ListPodSandbox/4567")
        bench.generic.request_relist("4567")
        await bench.until(119 * SECOND)
        assert len(bench.hooks.of("relist_ended")) == 1
        bench.generic.request_relist("4567")
        await bench.until(130 * SECOND)
        assert len(bench.hooks.of("relist_ended")) > 1, "a due relist comes before the second request"
        assert bench.generic.healthy() is None


@virtual
async def test_a_pod_first_seen_by_one_and_gone_before_the_global_relist_is_reported_removed() -> None:
    bench = Bench()
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        bench.runtime.container("c9", "9")
        bench.generic.request_relist("9")
        await bench.until(600 * MILLISECOND)
        assert bench.sorted_events() == [("9", "c9", STARTED)]
        bench.runtime.remove("c9")
        await bench.until(1500 * MILLISECOND)
        assert bench.sorted_events() == [("9", "c9", DIED), ("9", "c9", REMOVED)]
        assert "9" not in bench.cache


@virtual
async def test_a_change_that_one_saw_and_that_was_undone_is_seen_by_the_global_relist() -> None:
    """Its own two lists agree; the record does not."""
    bench = one_pod()
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        bench.events()
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        bench.generic.request_relist("1234")
        await bench.until(600 * MILLISECOND)
        assert bench.sorted_events() == [("1234", "c1", DIED)]
        bench.runtime.container("c1", "1234", "running", sandbox="s1")
        await bench.until(1500 * MILLISECOND)
        assert bench.sorted_events() == [("1234", "c1", STARTED)]


@virtual
async def test_it_takes_the_reinspect_flag_and_sends_the_pod_sync() -> None:
    bench = one_pod()
    async with bench.running():
        await bench.until(500 * MILLISECOND)
        bench.events()
        bench.generic.request_reinspect("1234")
        bench.generic.request_relist("1234")
        await bench.until(600 * MILLISECOND)
        assert bench.sorted_events() == [("1234", "", POD_SYNC)]
        await bench.until(1500 * MILLISECOND)
        assert bench.events() == []


@virtual
async def test_its_duration_does_not_contain_the_wait_for_the_relist_lock() -> None:
    """Upstream takes the time once it has the lock; evented's forced relists hold it now and then."""
    bench = one_pod()
    async with bench.running() as tasks:
        await bench.until(500 * MILLISECOND)
        bench.runtime.delays["ListContainers"] = 10 * SECOND
        tasks.start_soon(bench.generic.relist)
        await bench.until(600 * MILLISECOND)
        bench.runtime.delays["ListContainers"] = MILLISECOND
        bench.generic.request_relist("1234")
        await bench.until(11 * SECOND)
        [(_, duration, _)] = bench.hooks.of("pod_relist_ended")
        assert duration == 2 * MILLISECOND
