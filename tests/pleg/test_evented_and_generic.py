"""Evented PLEG (1.26-1.36) and the slow relist behind it: two writers of one cache (3.5), and the bugs of 3.7."""

from __future__ import annotations

import anyio
import pytest

from cri.clock import MILLISECOND, SECOND, VIRTUAL_EPOCH, seconds
from pleg.generators.event_stream import StreamSettings
from pleg.pods import PodStatus
from tests.pleg.support import EventedBench, virtual

STARTED, DIED, REMOVED = "ContainerStarted", "ContainerDied", "ContainerRemoved"


def modified(bench: EventedBench, uid: str = "1234") -> int:
    entry = bench.cache.entry(uid)
    assert entry is not None
    return entry.modified


def one_pod() -> EventedBench:
    bench = EventedBench()
    bench.runtime.sandbox("s1", "1234")
    bench.runtime.container("c1", "1234", sandbox="s1")
    return bench


async def after(bench: EventedBench, monotonic: int, *events: bytes) -> list[str]:
    """Wait until then, with these events fed now; the types that went into the channel meanwhile."""
    bench.runtime.streams[-1].push(*events)
    await bench.until(monotonic)
    return [f"{event.type} {event.data}" for event in bench.events()]


# --- 3.5 -----------------------------------------------------------------------------------------------------


@virtual
async def test_generic_dates_its_writes_by_the_runtimes_time_where_that_says_it() -> None:
    bench = one_pod()
    told = VIRTUAL_EPOCH - 5 * SECOND
    bench.runtime.sandbox_statuses["s1"].timestamp = told
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(SECOND)
        assert modified(bench) == told


@virtual
async def test_where_it_does_not_the_time_before_the_lists_counts() -> None:
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(SECOND)
        assert modified(bench) == VIRTUAL_EPOCH


@virtual
async def test_after_the_fallback_it_is_the_kubelets_time_again() -> None:
    bench = one_pod()
    bench.runtime.sandbox_statuses["s1"].timestamp = VIRTUAL_EPOCH - 5 * SECOND
    bench.runtime.on_stream = lambda stream: stream.end()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        await bench.until(12 * SECOND)
        assert modified(bench) > VIRTUAL_EPOCH + 10 * SECOND


@virtual
async def test_each_slow_relist_sends_the_transitions_of_its_period_once_more() -> None:
    """Events do not advance the record: measured on 1.36.3."""
    bench = EventedBench()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
        bench.runtime.sandbox("s1", "1234")
        bench.runtime.container("c1", "1234", sandbox="s1")
        fed = (bench.runtime.event("started", "s1", "s1"), bench.runtime.event("started", "c1", "s1"))
        assert await after(bench, 20 * SECOND, *fed) == [f"{STARTED} s1", f"{STARTED} c1"]
        assert await after(bench, 310 * SECOND) == [f"{STARTED} c1", f"{STARTED} s1"]
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        assert await after(bench, 320 * SECOND, bench.runtime.event("stopped", "c1", "s1")) == [f"{DIED} c1"]
        assert await after(bench, 610 * SECOND) == [f"{DIED} c1"]
        assert await after(bench, 910 * SECOND) == []


@virtual
async def test_a_refused_relist_sends_nothing_keeps_the_record_and_tries_again_at_each_relist() -> None:
    """3.7, rows 4 and 6: an entry from the future, here by a runtime whose clock is ahead for one event."""
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
        bench.events()
        ahead = VIRTUAL_EPOCH + 400 * SECOND
        assert await after(bench, 20 * SECOND, bench.runtime.event("started", "c1", "s1", created_at=ahead)) == [
            f"{STARTED} c1"
        ]
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        bench.runtime.asked()
        assert await after(bench, 310 * SECOND) == [], "refused: the relist of 300 s is older than the entry"
        assert "ContainerStatus/c1" in bench.runtime.asked()
        assert modified(bench) == ahead
        assert await after(bench, 610 * SECOND) == [f"{DIED} c1"], "600 s is newer"


@virtual
async def test_k124953_a_runtime_whose_statuses_are_dated_before_its_events_is_refused_for_ever() -> None:
    bench = one_pod()
    bench.runtime.sandbox_statuses["s1"].timestamp = 1  # as good as none
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
        bench.events()
        await after(bench, 20 * SECOND, bench.runtime.event("started", "c1", "s1"))
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        bench.runtime.sandbox_statuses["s1"].timestamp = 1
        for relist in range(1, 6):
            assert await after(bench, relist * 310 * SECOND) == []
        assert bench.hooks.of("cache_set").count(("1234", False)) >= 4
        assert [str(c.state) for c in bench.status("1234").containers] == ["running"], "frozen"


@virtual
async def test_a_failed_inspection_is_cached_with_the_kubelets_time_and_may_be_refused() -> None:
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
        ahead = VIRTUAL_EPOCH + 400 * SECOND
        await after(bench, 20 * SECOND, bench.runtime.event("started", "c1", "s1", created_at=ahead))
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        bench.runtime.fail("ContainerStatus")
        await bench.until(310 * SECOND)
        bench.status("1234")
        await bench.until(610 * SECOND)
        assert bench.cache.get("1234")[0] is None
        bench.runtime.heal()
        bench.events()
        assert await after(bench, 910 * SECOND) == [f"{DIED} c1"]


# --- 3.7, row by row -----------------------------------------------------------------------------------------


@virtual
async def test_k121003_a_created_event_answers_a_worker_before_its_container_runs() -> None:
    """Row 1: it syncs again on a status in which the container is only created, or missing, and makes another."""
    bench = EventedBench()
    bench.runtime.sandbox("s1", "1234")
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND + 100 * MILLISECOND)
        last_sync = bench.clock.now()
        await bench.until(10 * SECOND + 200 * MILLISECOND)
        bench.runtime.container("c1", "1234", "created", sandbox="s1")
        bench.runtime.streams[-1].push(bench.runtime.event("created", "c1", "s1"))
        status, _ = await bench.cache.get_newer_than("1234", last_sync)
        assert bench.clock.monotonic() == 10 * SECOND + 201 * MILLISECOND
        assert status is not None
        assert [str(c.state) for c in status.containers] == ["created"]


@virtual
async def test_k124704_a_worker_whose_sync_ended_after_the_event_waits_for_the_five_second_tick() -> None:
    """Row 3: nothing newer will come, although nothing newer is needed."""
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND + 100 * MILLISECOND)
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        await after(bench, 10 * SECOND + 200 * MILLISECOND, bench.runtime.event("stopped", "c1", "s1"))
        last_sync = bench.clock.now()
        await bench.cache.get_newer_than("1234", last_sync)
        assert bench.clock.monotonic() == 15 * SECOND


@virtual
async def test_ctrd7785_a_sandboxs_deletion_is_lost_until_the_next_relist() -> None:
    """Row 7: containerd 1.7 sends its DELETED without sandbox status."""
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
        bench.events()
        bench.runtime.remove("s1", "c1")
        assert await after(bench, 299 * SECOND, bench.runtime.event("deleted", "s1", "s1")) == []
        assert "1234" in bench.cache
        assert await after(bench, 310 * SECOND) == [
            f"{DIED} c1",
            f"{REMOVED} c1",
            f"{DIED} s1",
            f"{REMOVED} s1",
        ]
        assert "1234" not in bench.cache


@virtual
async def test_a_pod_born_and_gone_between_two_relists_stays_in_the_cache_for_ever() -> None:
    """Row 7 (inf): relists visit records and listed pods alone."""
    bench = EventedBench()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
        bench.runtime.sandbox("s1", "ghost")
        started = bench.runtime.event("started", "s1", "s1")
        bench.runtime.remove("s1")
        await after(bench, 1000 * SECOND, started, bench.runtime.event("deleted", "s1", "s1"))
        assert "ghost" in bench.cache


@virtual
async def test_removing_an_old_sandbox_deletes_the_entry_of_a_living_pod() -> None:
    """Row 8 (inf): Delete goes by the pod."""
    bench = one_pod()
    bench.runtime.sandbox("s2", "1234", attempt=1)
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
        await after(bench, 11 * SECOND, bench.runtime.event("deleted", "s1", "s1"))
        assert bench.cache.get("1234") == (PodStatus("1234"), None)


@virtual
async def test_old_events_replayed_to_a_new_subscriber_are_refused_but_for_deleted() -> None:
    """Row 10: containerd keeps events for 5 min; their created_at is what it was."""
    bench = one_pod()
    long_ago = VIRTUAL_EPOCH - 200 * SECOND
    replay = [bench.runtime.event(kind, "c1", "s1", created_at=long_ago) for kind in ("started", "stopped")]
    replay.append(bench.runtime.event("deleted", "c0", "s1", created_at=long_ago))
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
        bench.events()
        assert await after(bench, 20 * SECOND, *replay) == [f"{DIED} c0", f"{REMOVED} c0"]


@virtual
async def test_k127086_a_reader_is_told_that_an_unverified_status_is_fresh() -> None:
    """Row 11: the runtime says nothing at all, and 5 s later the cache is 'newer'."""
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(12 * SECOND)
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")  # and its event is lost
        status, _ = await bench.cache.get_newer_than("1234", bench.clock.now())
        assert bench.clock.monotonic() == 15 * SECOND
        assert status is not None
        assert [str(c.state) for c in status.containers] == ["running"]


@virtual
async def test_k129355_a_sandboxs_start_wakes_before_there_are_containers() -> None:
    """Row 13."""
    bench = EventedBench()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
        bench.runtime.sandbox("s1", "1234")
        assert await after(bench, 11 * SECOND, bench.runtime.event("started", "s1", "s1")) == [f"{STARTED} s1"]
        assert bench.status("1234").containers == ()


@pytest.mark.parametrize("in_order", [True, False])
@virtual
async def test_events_out_of_order_regress_nothing_only_if_their_times_tell_the_order(in_order: bool) -> None:
    """Row 14: created_at is all there is."""
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
        bench.events()
        started = bench.runtime.event("started", "c1", "s1", created_at=bench.clock.now())
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        stopped = bench.runtime.event("stopped", "c1", "s1", created_at=bench.clock.now() + (1 if in_order else -1))
        found = await after(bench, 11 * SECOND, stopped, started)
        assert [str(c.state) for c in bench.status("1234").containers] == ["exited" if in_order else "running"]
        assert found == ([f"{DIED} c1"] if in_order else [f"{DIED} c1", f"{STARTED} c1"])


@virtual
async def test_a_one_pod_relist_repeats_at_once_what_the_event_said() -> None:
    """1.36 asks for one after each sync: each transition is reported twice within milliseconds (measured)."""
    bench = EventedBench()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
        bench.runtime.sandbox("s1", "1234")
        assert await after(bench, 10 * SECOND + 5 * MILLISECOND, bench.runtime.event("started", "s1", "s1")) == [
            f"{STARTED} s1"
        ]
        bench.generic.request_relist("1234")
        assert await after(bench, 10 * SECOND + 20 * MILLISECOND) == [f"{STARTED} s1"]


@virtual
async def test_the_buffer_blocks_or_drops_as_it_is_told() -> None:
    for drops in (False, True):
        bench = EventedBench(stream=StreamSettings(buffer=2, drop_when_full=drops))
        bench.runtime.sandbox("s1", "1234")
        async with bench.running(bench.evented.run):
            await bench.until(bench.clock.monotonic() + 10 * MILLISECOND)
            bench.runtime.delays["event"] = 0
            bench.runtime.streams[-1].push(*(bench.runtime.event("started", f"c{n}", "s1") for n in range(20)))
            await anyio.sleep(seconds(SECOND))
        sent = len(bench.events())
        dropped = bench.hooks.count("container_event_overflowed")
        assert sent + dropped == 20
        if not drops:
            assert dropped == 0
