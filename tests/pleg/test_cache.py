"""The pod cache: what a reader gets at once, and which writes are refused (section 4 of the kubelet's facts).

Nothing here needs virtual time, and it runs under trio too, whose shuffled scheduling finds orders that asyncio hides.
"""

from __future__ import annotations

import math

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
