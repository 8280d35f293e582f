"""Pod workers: one per pod, each waits for a status newer than its last sync (section 5.3 of the kubelet's facts)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from cri.clock import MILLISECOND, MINUTE, SECOND, VIRTUAL_EPOCH, seconds
from pleg.cache import PodCache
from pleg.node.pod_workers import PodWorkers
from pleg.pods import PodStatus
from tests.pleg.support import Recording, current_clock, running, virtual


class Workers:
    def __init__(self, seed: int = 1) -> None:
        self.clock = current_clock()
        self.hooks = Recording(self.clock)
        self.cache = PodCache()
        self.rng = random.Random(seed)
        self.workers = PodWorkers(self.cache, self.clock, self.hooks, self.rng)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with running() as tasks:
            self.workers.start(tasks)
            yield

    def update(self, uid: str = "u1") -> None:
        self.workers.update_pod(uid, "ns", uid)

    def synced(self) -> list[int]:
        """At which ms a sync ended."""
        return [at // MILLISECOND for at in self.hooks.times("pod_synced")]

    async def until(self, monotonic: int) -> None:
        await anyio.sleep(seconds(monotonic - self.clock.monotonic()))


@virtual
async def test_the_first_sync_waits_only_for_the_first_relist() -> None:
    bench = Workers()
    async with bench.running():
        await bench.until(SECOND)
        bench.update()
        await bench.until(5 * SECOND)
        assert bench.synced() == []
        bench.cache.update_time(VIRTUAL_EPOCH)  # a relist that started long before the pod was seen
        await bench.until(6 * SECOND)
        assert bench.synced() == [5000]
        assert bench.workers.pods["u1"].status == PodStatus("u1")


@virtual
async def test_each_later_sync_waits_for_a_status_newer_than_the_end_of_the_one_before() -> None:
    bench = Workers()
    bench.cache.update_time(VIRTUAL_EPOCH)
    async with bench.running():
        await bench.until(SECOND)
        bench.update()
        await bench.until(2 * SECOND)
        assert bench.synced() == [1000]
        bench.update()
        await bench.until(3 * SECOND)
        bench.cache.update_time(VIRTUAL_EPOCH + SECOND - 1)
        await bench.until(4 * SECOND)
        assert bench.synced() == [1000], "older than lastSyncTime"
        bench.cache.update_time(VIRTUAL_EPOCH + 3 * SECOND)
        await bench.until(5 * SECOND)
        assert bench.synced() == [1000, 4000]


@virtual
async def test_an_observed_time_is_new_enough_too() -> None:
    bench = Workers()
    bench.cache.set("u1", PodStatus("u1"), None, VIRTUAL_EPOCH)
    async with bench.running():
        await bench.until(SECOND)
        bench.update()
        await bench.until(2 * SECOND)
        bench.update()
        await bench.until(3 * SECOND)
        bench.cache.set_observed_time("u1", VIRTUAL_EPOCH + 2 * SECOND)
        await bench.until(4 * SECOND)
    assert bench.synced() == [1000, 3000]


@virtual
async def test_updates_that_come_while_it_works_are_merged_into_one() -> None:
    bench = Workers()
    async with bench.running():
        bench.update()
        for second in range(1, 6):
            await bench.until(second * SECOND)
            bench.update()
        bench.cache.update_time(bench.clock.now())
        await bench.until(6 * SECOND)
        assert bench.synced() == [5000]
        bench.cache.update_time(bench.clock.now())
        await bench.until(7 * SECOND)
        assert bench.synced() == [5000, 6000], "one more for all that came meanwhile"
        bench.cache.update_time(bench.clock.now() + SECOND)
        await bench.until(8 * SECOND)
        assert len(bench.synced()) == 2
    assert [duration for _, duration in bench.hooks.of("pod_synced")] == [
        5 * SECOND,
        5 * SECOND,
    ], "from the handing over of the oldest update"


@virtual
async def test_each_pod_has_a_worker_of_its_own() -> None:
    bench = Workers()
    async with bench.running():
        bench.update("stuck")
        bench.update("fine")
        await bench.until(SECOND)
        bench.cache.set("fine", PodStatus("fine"), None, bench.clock.now())
        await bench.until(2 * SECOND)
        assert [uid for uid, _ in bench.hooks.of("pod_synced")] == ["fine"]
    assert sorted(bench.hooks.of("pod_worker_started")) == [("fine", 0), ("stuck", 0)]


# --- again ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fails", "shortest"), [(False, MINUTE), (True, 10 * SECOND)])
@virtual
async def test_it_looks_again_after_the_resync_interval_or_the_back_off_stretched_by_up_to_half(
    fails: bool, shortest: int
) -> None:
    waits = set()
    for seed in range(20):
        bench = Workers(seed)
        error = RuntimeError("no status") if fails else None
        bench.cache.set("u1", None if fails else PodStatus("u1"), error, bench.clock.now())
        async with bench.running():
            bench.update()
            begin = bench.clock.monotonic()
            for tick in range(200):  # the sync ticker's own, but finer
                await bench.until(begin + tick * SECOND // 2)
                if bench.workers.due():
                    waits.add(bench.clock.monotonic() - begin)
                    assert bench.workers.due() == [], "taken out"
    assert all(shortest < wait <= shortest * 3 // 2 + SECOND for wait in waits)
    assert len(waits) > 5


@virtual
async def test_due_is_what_lies_strictly_before_now() -> None:
    bench = Workers()
    bench.cache.set("u1", PodStatus("u1"), None, VIRTUAL_EPOCH)
    bench.rng.random = lambda: 0.0  # type: ignore[method-assign]
    async with bench.running():
        bench.update()
        await bench.until(MINUTE)
        assert bench.workers.due() == []
        await bench.until(MINUTE + 1)
        assert bench.workers.due() == ["u1"]


@virtual
async def test_a_cached_error_is_logged_and_the_last_sync_stays_so_the_next_look_waits_for_nothing() -> None:
    bench = Workers()
    bench.cache.set("u1", None, RuntimeError("no status"), VIRTUAL_EPOCH)
    async with bench.running():
        await bench.until(SECOND)
        bench.update()
        await bench.until(2 * SECOND)
        [(_, values)] = bench.hooks.logged("Error syncing pod, skipping")
        assert (values["severity"], str(values["err"])) == ("E", "no status"), "the v1 Event alone says more"
        assert (values["pod"], values["podUID"]) == ("ns/u1", "u1")
        assert bench.workers.pods["u1"].last_sync == 0
        bench.update()
        await bench.until(3 * SECOND)
        assert bench.synced() == [1000, 2000]


# --- forgetting ----------------------------------------------------------------------------------------------


@virtual
async def test_a_forgotten_pods_worker_ends_wherever_it_is_and_is_not_queued_again() -> None:
    bench = Workers()
    bench.cache.set("done", PodStatus("done"), None, VIRTUAL_EPOCH)
    async with bench.running():
        bench.update("waiting")
        bench.update("done")
        await bench.until(SECOND)
        for uid in ("waiting", "done", "never known"):
            bench.workers.forget(uid)
        bench.cache.update_time(bench.clock.now() + SECOND)
        await bench.until(5 * MINUTE)
        assert bench.workers.due() == []
        assert bench.workers.pods == {}
    assert [uid for uid, _ in bench.hooks.of("pod_synced")] == ["done"]


@virtual
async def test_a_pod_that_comes_back_gets_a_new_worker() -> None:
    bench = Workers()
    bench.cache.update_time(VIRTUAL_EPOCH)
    async with bench.running():
        bench.update()
        await bench.until(SECOND)
        bench.workers.forget("u1")
        bench.update()
        await bench.until(2 * SECOND)
        assert bench.synced() == [0, 1000], "its lastSyncTime is zero again"
    assert len(bench.hooks.of("pod_worker_started")) == 2
