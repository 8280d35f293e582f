"""The pod cache: what a reader gets, when it waits and what wakes it (section 4 of the kubelet's facts).

Nothing here needs virtual time, and it runs under trio too, whose shuffled scheduling finds orders that asyncio hides.
"""

from __future__ import annotations

import math

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from pleg.cache import PodCache
from pleg.pods import PodStatus

Answer = tuple[PodStatus | None, Exception | None]

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def status(uid: str = "u", name: str = "") -> PodStatus:
    return PodStatus(uid, name)


class Waiter:
    """A reader in the background; `answer` is what it got."""

    def __init__(self, cache: PodCache, minimum: int, uid: str = "u") -> None:
        self.cache, self.minimum, self.uid = cache, minimum, uid
        self.answer: Answer | None = None
        self.scope = anyio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            self.answer = await self.cache.get_newer_than(self.uid, self.minimum)

    async def start(self, tasks: TaskGroup) -> Waiter:
        tasks.start_soon(self.run)
        await anyio.wait_all_tasks_blocked()
        return self

    async def woken(self) -> bool:
        await anyio.wait_all_tasks_blocked()
        return self.answer is not None


# --- reading at once -----------------------------------------------------------------------------------------


async def test_a_missing_pod_reads_as_an_empty_status_with_its_uid_and_no_error() -> None:
    cache = PodCache()
    assert cache.get("u") == (PodStatus("u"), None)
    assert "u" not in cache
    assert len(cache) == 0


async def test_reading_twice_gives_the_same_object() -> None:
    cache, written = PodCache(), status()
    cache.set("u", written, None, 1)
    assert cache.get("u")[0] is cache.get("u")[0] is written


async def test_an_error_is_an_answer_with_or_without_a_status() -> None:
    cache, error = PodCache(), RuntimeError("inspection failed")
    cache.set("u", None, error, 1)
    assert cache.get("u") == (None, error)
    assert await cache.get_newer_than("u", 0) == (None, error)
    partial = status(name="partial")
    cache.set("u", partial, error, 2)
    assert cache.get("u") == (partial, error)


@pytest.mark.parametrize(
    ("modified", "observed", "global_time", "minimum", "at_once"),
    [
        (5, None, None, 4, True),
        (5, None, None, 5, False),  # strictly after
        (5, None, None, 6, False),
        (5, 9, None, 8, True),
        (5, 9, None, 9, False),
        (5, 3, None, 4, True),  # observed earlier than modified: modified counts
        (5, None, 9, 8, True),
        (5, None, 9, 9, False),
        (None, None, 9, 8, True),
        (None, None, 9, 9, False),
        (None, None, None, 0, False),  # nothing has been promised yet
        (None, None, 0, 0, False),
    ],
)
async def test_when_a_read_is_answered_at_once(
    modified: int | None, observed: int | None, global_time: int | None, minimum: int, at_once: bool
) -> None:
    cache = PodCache()
    if modified is not None:
        cache.set("u", status(), None, modified)
    if observed is not None:
        cache.set_observed_time("u", observed)
    if global_time is not None:
        cache.update_time(global_time)
    async with anyio.create_task_group() as tasks:
        waiter = await Waiter(cache, minimum).start(tasks)
        assert await waiter.woken() is at_once
        if at_once:
            assert waiter.answer == (PodStatus("u"), None)
        tasks.cancel_scope.cancel()


async def test_observed_time_does_not_exist_before_an_entry_does() -> None:
    """SetObservedTime of an unknown pod notifies, but leaves nothing behind for a later reader."""
    cache = PodCache()
    cache.set_observed_time("u", 100)
    assert cache.entry("u") is None
    async with anyio.create_task_group() as tasks:
        assert not await (await Waiter(cache, 50).start(tasks)).woken()
        tasks.cancel_scope.cancel()


async def test_set_makes_observed_what_it_makes_modified() -> None:
    cache = PodCache()
    cache.set("u", status(), None, 5)
    cache.set_observed_time("u", 9)
    cache.set("u", status(), None, 7)
    entry = cache.entry("u")
    assert entry is not None
    assert (entry.modified, entry.observed) == (7, 7)


async def test_observed_time_may_step_back() -> None:
    cache = PodCache()
    cache.set("u", status(), None, 5)
    cache.set_observed_time("u", 9)
    cache.set_observed_time("u", 2)
    entry = cache.entry("u")
    assert entry is not None
    assert (entry.modified, entry.observed) == (5, 2)


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


# --- refusing what is older (the EventedPLEG gate) -----------------------------------------------------------


@pytest.mark.parametrize(
    ("refuse", "timestamp", "accepted"), [(True, 4, False), (True, 5, True), (True, 6, True), (False, 4, True)]
)
async def test_only_the_gate_refuses_and_only_what_is_strictly_older(
    refuse: bool, timestamp: int, accepted: bool
) -> None:
    cache = PodCache(refuse_older=refuse)
    assert cache.set("u", status(name="old"), None, 5)
    async with anyio.create_task_group() as tasks:
        waiter = await Waiter(cache, 5).start(tasks)
        assert cache.set("u", status(name="new"), None, timestamp) is accepted
        assert cache.get("u") == (status(name="new" if accepted else "old"), None)
        entry = cache.entry("u")
        assert entry is not None
        assert entry.modified == (timestamp if accepted else 5)
        assert await waiter.woken() is (accepted and timestamp >= 5)
        tasks.cancel_scope.cancel()


async def test_a_refused_write_wakes_nobody_even_when_it_is_new_enough_for_them() -> None:
    cache = PodCache(refuse_older=True)
    cache.set("u", status(), None, 10)
    cache.set_observed_time("u", 1)
    async with anyio.create_task_group() as tasks:
        waiter = await Waiter(cache, 10).start(tasks)
        assert not cache.set("u", status(name="late"), None, 9)
        assert not await waiter.woken()
        tasks.cancel_scope.cancel()


async def test_what_counts_as_older_is_modified_not_observed_nor_global_time() -> None:
    cache = PodCache(refuse_older=True)
    cache.set("u", status(), None, 5)
    cache.set_observed_time("u", 50)
    cache.update_time(60)
    assert cache.set("u", status(name="new"), None, 6)


async def test_after_delete_any_time_is_accepted() -> None:
    cache = PodCache(refuse_older=True)
    cache.set("u", status(), None, 5)
    cache.delete("u")
    assert cache.set("u", status(name="again"), None, 1)


async def test_k127814_an_entry_from_the_far_future_is_never_waited_for_and_never_overwritten() -> None:
    """Until 1.31 the event's nanoseconds were read as seconds: such an entry froze the pod's status."""
    cache = PodCache(refuse_older=True)
    cache.set("u", status(name="frozen"), None, 10**18 * 10**9)
    with anyio.fail_after(math.inf):
        await anyio.lowlevel.checkpoint()
        assert await cache.get_newer_than("u", 10**18) == (status(name="frozen"), None)
    assert not cache.set("u", status(name="true"), None, 10**18 + 1)
    assert cache.get("u") == (status(name="frozen"), None)
