"""The pod cache: what a reader waits for, what wakes it, and what becomes of one that gives up (section 4)."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from pleg.cache import PodCache
from pleg.pods import PodStatus
from tests.pleg.cache_readers import Waiter, status

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- waiting and waking --------------------------------------------------------------------------------------


async def test_set_wakes_a_waiter_with_what_was_written() -> None:
    cache, written, error = PodCache(), status(name="new"), RuntimeError("x")
    async with anyio.create_task_group() as tasks:
        waiter = await Waiter(cache, 5).start(tasks)
        cache.set("u", written, error, 6)
        assert await waiter.woken()
        assert waiter.answer == (written, error)


async def test_an_older_set_leaves_the_waiter_asleep() -> None:
    cache = PodCache()
    async with anyio.create_task_group() as tasks:
        waiter = await Waiter(cache, 5).start(tasks)
        cache.set("u", status(), None, 4)
        assert not await waiter.woken()
        cache.set("u", status(name="later"), None, 6)
        assert await waiter.woken()
        assert waiter.answer == (status(name="later"), None)


async def test_an_equal_time_wakes_a_waiter_though_a_fresh_read_would_wait() -> None:
    """notify takes `not before`, reads take `strictly after`: upstream's own asymmetry."""
    cache = PodCache()
    async with anyio.create_task_group() as tasks:
        waiter = await Waiter(cache, 5).start(tasks)
        cache.set("u", status(), None, 5)
        assert await waiter.woken()
        assert not await (await Waiter(cache, 5).start(tasks)).woken()
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("entry", [True, False])
async def test_update_time_wakes_at_an_equal_time_too(entry: bool) -> None:
    cache = PodCache()
    async with anyio.create_task_group() as tasks:
        waiter = await Waiter(cache, 5).start(tasks)
        if entry:
            cache.set("u", status(name="old"), None, 1)
        cache.update_time(5)
        assert await waiter.woken()
        assert waiter.answer == (status(name="old") if entry else PodStatus("u"), None)


async def test_set_observed_time_wakes_with_the_entry_or_with_the_empty_status() -> None:
    cache = PodCache()
    cache.set("v", status("v", "known"), None, 1)
    async with anyio.create_task_group() as tasks:
        unknown = await Waiter(cache, 5, "u").start(tasks)
        known = await Waiter(cache, 5, "v").start(tasks)
        cache.set_observed_time("u", 5)
        cache.set_observed_time("v", 4)
        assert await unknown.woken()
        assert unknown.answer == (PodStatus("u"), None)
        assert not await known.woken()
        cache.set_observed_time("v", 6)
        assert await known.woken()
        assert known.answer == (status("v", "known"), None)


async def test_update_time_wakes_every_pods_waiters_that_are_old_enough() -> None:
    cache = PodCache()
    async with anyio.create_task_group() as tasks:
        waiters = [
            await Waiter(cache, minimum, uid).start(tasks) for uid, minimum in (("a", 3), ("a", 7), ("b", 5), ("c", 6))
        ]
        cache.update_time(5)
        assert [await waiter.woken() for waiter in waiters] == [True, False, True, False]
        cache.update_time(7)
        assert [await waiter.woken() for waiter in waiters] == [True] * 4


async def test_a_set_wakes_only_its_own_pods_waiters() -> None:
    cache = PodCache()
    async with anyio.create_task_group() as tasks:
        other = await Waiter(cache, 5, "other").start(tasks)
        cache.set("u", status(), None, 9)
        assert not await other.woken()
        tasks.cancel_scope.cancel()


async def test_delete_wakes_nobody_until_the_next_update_time() -> None:
    cache = PodCache()
    cache.set("u", status(name="gone soon"), None, 1)
    async with anyio.create_task_group() as tasks:
        waiter = await Waiter(cache, 5).start(tasks)
        cache.delete("u")
        assert not await waiter.woken()
        cache.update_time(6)
        assert await waiter.woken()
        assert waiter.answer == (PodStatus("u"), None)


async def test_delete_of_an_unknown_pod_is_nothing() -> None:
    PodCache().delete("u")


async def test_update_time_may_step_back_and_then_reads_wait_again() -> None:
    """In E1 a relist's older start follows a 5 s tick: the global time is stored as it comes."""
    cache = PodCache()
    cache.update_time(10)
    assert await cache.get_newer_than("u", 9) == (PodStatus("u"), None)
    cache.update_time(6)
    assert cache.time == 6
    async with anyio.create_task_group() as tasks:
        assert not await (await Waiter(cache, 9).start(tasks)).woken()
        tasks.cancel_scope.cancel()


async def test_a_waiter_gets_what_stood_when_it_was_woken_even_if_it_runs_later() -> None:
    """The delivery is a value in a one-slot channel: what is written after it does not change it."""
    cache = PodCache()
    async with anyio.create_task_group() as tasks:
        waiter = await Waiter(cache, 5).start(tasks)
        cache.set("u", status(name="first"), None, 6)
        cache.set("u", status(name="second"), None, 7)
        cache.delete("u")
        assert await waiter.woken()
        assert waiter.answer == (status(name="first"), None)


async def test_a_delivery_uses_up_the_subscription() -> None:
    cache = PodCache()
    async with anyio.create_task_group() as tasks:
        waiter = await Waiter(cache, 5).start(tasks)
        cache.set("u", status(name="first"), None, 6)
        assert await waiter.woken()
        cache.set("u", status(name="second"), None, 7)
        assert waiter.answer == (status(name="first"), None)


# --- cancelling ----------------------------------------------------------------------------------------------


async def test_a_cancelled_waiter_leaves_the_others_waiting() -> None:
    cache = PodCache()
    async with anyio.create_task_group() as tasks:
        waiters = [await Waiter(cache, 5).start(tasks) for _ in range(3)]
        waiters[1].scope.cancel()
        assert not await waiters[1].woken()
        cache.set("u", status(), None, 6)
        assert [await waiter.woken() for waiter in waiters] == [True, False, True]


async def test_a_waiter_cancelled_at_the_moment_it_is_woken_does_no_harm() -> None:
    cache = PodCache()
    async with anyio.create_task_group() as tasks:
        waiter = await Waiter(cache, 5).start(tasks)
        cache.set("u", status(), None, 6)
        waiter.scope.cancel()
        await anyio.wait_all_tasks_blocked()
        fresh = await Waiter(cache, 6).start(tasks)
        cache.update_time(7)
        assert await fresh.woken()


async def test_all_waiters_cancelled_and_a_new_one_comes() -> None:
    cache = PodCache()
    async with anyio.create_task_group() as tasks:
        waiter = await Waiter(cache, 5).start(tasks)
        waiter.scope.cancel()
        await anyio.wait_all_tasks_blocked()
        again = await Waiter(cache, 5).start(tasks)
        cache.update_time(5)
        assert await again.woken()


async def test_waiting_takes_no_time_limit() -> None:
    cache = PodCache()
    with anyio.move_on_after(0) as scope:
        await cache.get_newer_than("u", 0)
    assert scope.cancelled_caught
