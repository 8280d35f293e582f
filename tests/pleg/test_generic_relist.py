"""A global relist, step by step (sections 2.2 to 2.4 of the kubelet's facts, the G3 column)."""

from __future__ import annotations

import anyio
import pytest

from cri.clock import MILLISECOND, SECOND, VIRTUAL_EPOCH
from cri.transport import Code
from pleg.generators.generic import RelistSettings
from tests.pleg.support import Bench, virtual

DIED = "ContainerDied"


def with_pods(bench: Bench, *uids: str) -> Bench:
    for uid in uids:
        bench.runtime.sandbox(f"s-{uid}", uid)
        bench.runtime.container(f"c-{uid}", uid, sandbox=f"s-{uid}")
    return bench


# --- when ----------------------------------------------------------------------------------------------------


@virtual
async def test_the_first_relist_is_at_once_and_the_period_is_a_gap_after_completion() -> None:
    bench = Bench()
    bench.runtime.delays["ListContainers"] = 499 * MILLISECOND  # a relist of half a second
    async with bench.running():
        await bench.until(5 * SECOND)
    starts = [call.at for call in bench.runtime.calls if call.rpc == "ListPodSandbox"]
    assert starts == [number * 1500 * MILLISECOND for number in range(4)]
    assert bench.hooks.of("relist_started") == [None] + [1500 * MILLISECOND] * 3
    assert [duration for duration, _ in bench.hooks.of("relist_ended")][:3] == [500 * MILLISECOND] * 3


@virtual
async def test_a_slow_relist_never_overlaps_with_another_nor_queues_one() -> None:
    bench = Bench()
    bench.runtime.delays["ListPodSandbox"] = 10 * SECOND
    async with bench.running():
        await bench.until(35 * SECOND)
    starts = [call.at // SECOND for call in bench.runtime.calls if call.rpc == "ListPodSandbox"]
    assert starts == [0, 11, 22, 33]


@virtual
async def test_a_relist_asked_for_by_another_waits_for_the_one_under_way() -> None:
    bench = Bench()
    bench.runtime.delays["ListPodSandbox"] = 10 * SECOND
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.generic.relist)
        tasks.start_soon(bench.generic.relist)
    assert [call.rpc for call in bench.runtime.calls] == ["ListPodSandbox", "ListContainers"] * 2
    durations = [duration for duration, _ in bench.hooks.of("relist_ended")]
    assert durations == [10 * SECOND + MILLISECOND] * 2, "without the wait for the lock"


# --- a list that fails ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rpc", ["ListPodSandbox", "ListContainers"])
@virtual
async def test_a_failed_list_is_logged_and_changes_nothing_else(rpc: str) -> None:
    bench = with_pods(Bench(), "1234")
    await bench.relist()
    good, cached = bench.generic.relist_time, bench.cache.time
    bench.runtime.container("c-1234", "1234", "exited", sandbox="s-1234")
    bench.runtime.fail(rpc, Code.UNAVAILABLE, "down")
    bench.hooks.clear()
    await anyio.sleep(1)
    assert await bench.relist() == []
    assert (bench.generic.relist_time, bench.cache.time) == (good, cached)
    assert bench.hooks.of("running_pods") == bench.hooks.of("running_containers") == []
    assert bench.hooks.logs("E") == [
        f"{rpc} with filter from runtime service failed",
        "GenericPLEG: Unable to retrieve pods",
    ]
    [(_, values)] = bench.hooks.logged("GenericPLEG: Unable to retrieve pods")
    assert str(values["err"]) == "rpc error: code = Unavailable desc = down"
    [(duration, error)] = bench.hooks.of("relist_ended")
    assert (duration > 0, error) == (True, values["err"]), "failed relists are measured too"
    bench.runtime.heal()
    assert await bench.relist() == [("1234", "c-1234", DIED)], "the record had stayed"


@virtual
async def test_intervals_are_since_the_last_good_relist() -> None:
    bench = Bench()
    await bench.relist()
    bench.runtime.fail("ListContainers", times=2)
    for _ in range(3):
        await anyio.sleep(1)
        await bench.relist()
    step = 1002 * MILLISECOND
    assert bench.hooks.of("relist_started") == [None, step, 2 * step, 3 * step]


@virtual
async def test_before_the_first_good_relist_there_is_no_interval() -> None:
    bench = Bench()
    bench.runtime.fail("ListPodSandbox", times=2)
    for _ in range(3):
        await bench.relist()
    assert bench.hooks.of("relist_started") == [None, None, None]


# --- relist time and cache time ------------------------------------------------------------------------------


@virtual
async def test_relist_time_is_the_start_of_a_relist_and_counts_as_soon_as_its_lists_succeeded() -> None:
    bench = with_pods(Bench(), "1234")
    bench.runtime.delays |= {"ListPodSandbox": 5 * SECOND, "ListContainers": 5 * SECOND}
    bench.runtime.hang("PodSandboxStatus")
    async with bench.running():
        seen = []
        for second in (9, 11):
            await bench.until(second * SECOND)
            seen.append((bench.generic.relist_time, bench.generic.healthy()))
    assert seen == [(None, "pleg has yet to be successful"), (VIRTUAL_EPOCH, None)], "although its inspections hang"


@virtual
async def test_the_cache_is_declared_fresh_last_and_as_of_the_start() -> None:
    bench = with_pods(Bench(), "a", "b", "c")
    bench.runtime.delays["ContainerStatus"] = 2 * SECOND
    async with bench.running():
        for second in range(6):
            await bench.until(second * SECOND)
            assert bench.cache.time is None
        await bench.until(6 * SECOND + 500 * MILLISECOND)
        assert bench.cache.time == VIRTUAL_EPOCH


@virtual
async def test_the_cache_is_declared_fresh_even_though_an_inspection_failed() -> None:
    bench = with_pods(Bench(), "a", "b")
    bench.runtime.fail("PodSandboxStatus/s-a")
    begin = bench.clock.now()
    await bench.relist()
    assert bench.cache.time == begin


@virtual
async def test_an_entry_is_dated_before_the_lists_not_before_its_inspection() -> None:
    """k#137724, G3: the pod's own timestamp."""
    bench = with_pods(Bench(), "a")
    bench.runtime.delays |= {"ListPodSandbox": SECOND, "ListContainers": SECOND}
    begin = bench.clock.now()
    await bench.relist()
    entry = bench.cache.entry("a")
    assert entry is not None
    assert (entry.modified, entry.observed) == (begin, begin)
    assert bench.status("a").timestamp == begin


@virtual
async def test_k137724_a_status_never_claims_to_be_newer_than_a_container_that_it_lacks() -> None:
    bench = with_pods(Bench(), "a")
    bench.runtime.delays["ListContainers"] = SECOND
    made_at = 0

    async def make() -> None:
        nonlocal made_at
        await anyio.sleep(1.5)  # after the lists were answered, before the inspection ended
        made_at = bench.clock.now()
        bench.runtime.container("late", "a", sandbox="s-a")

    bench.runtime.delays["PodSandboxStatus"] = SECOND
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make)
        await bench.generic.relist()
    entry = bench.cache.entry("a")
    assert entry is not None
    assert "late" not in [c.id for c in bench.status("a").containers]
    assert entry.modified < made_at


@virtual
async def test_a_one_pod_change_does_not_make_the_others_newer_before_the_end() -> None:
    bench = with_pods(Bench(), "a", "b")
    await bench.relist()
    bench.runtime.remove("c-a")
    bench.runtime.delays["PodSandboxStatus"] = SECOND
    answers: list[str] = []

    async def wait(uid: str, minimum: int) -> None:
        await bench.cache.get_newer_than(uid, minimum)
        answers.append(uid)

    await anyio.sleep(1)
    async with anyio.create_task_group() as tasks:
        now = bench.clock.now()
        tasks.start_soon(wait, "b", now - 1)
        tasks.start_soon(bench.generic.relist)
        await anyio.sleep(0.9)
        assert answers == []
        await anyio.sleep(0.2)
        assert answers == ["b"]


# --- other settings ------------------------------------------------------------------------------------------


@virtual
async def test_restarted_with_other_settings_it_relists_at_once_and_goes_on_with_them() -> None:
    """Stop, Update, Start, as evented's fallback does."""
    bench = Bench(settings=RelistSettings(300 * SECOND, 600 * SECOND))
    async with bench.running():
        await bench.until(50 * SECOND)
        bench.generic.restart(RelistSettings(10 * SECOND, 20 * SECOND))
        await bench.until(75 * SECOND)
    starts = [call.at // SECOND for call in bench.runtime.calls if call.rpc == "ListPodSandbox"]
    assert starts == [0, 50, 60, 70]
    assert bench.generic.settings.threshold == 20 * SECOND


@virtual
async def test_restarted_while_a_relist_is_under_way_the_next_one_follows_it_at_once() -> None:
    bench = Bench(settings=RelistSettings(300 * SECOND, 600 * SECOND))
    bench.runtime.delays["ListContainers"] = 30 * SECOND
    async with bench.running():
        await bench.until(5 * SECOND)
        bench.generic.restart(RelistSettings(10 * SECOND, 20 * SECOND))
        await bench.until(75 * SECOND)
    starts = [call.at // SECOND for call in bench.runtime.calls if call.rpc == "ListPodSandbox"]
    assert starts == [0, 30, 70]
