"""Evented PLEG (1.26-1.36): what one event of the runtime does, kind by kind (3.3), and its gauges (3.6)."""

from __future__ import annotations

from typing import Any

import pytest

from cri.clock import MILLISECOND, SECOND, VIRTUAL_EPOCH
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as cri
from pleg.pods import ContainerState, PodStatus
from tests.pleg.support import EventedBench, virtual

STARTED, DIED, REMOVED = "ContainerStarted", "ContainerDied", "ContainerRemoved"

Found = list[tuple[str, str, str]]


def evented() -> EventedBench:
    """Its generic PLEG is not started: nothing but events happens."""
    bench = EventedBench()
    bench.runtime.sandbox("s1", "1234", ip="10.0.0.1")
    bench.runtime.container("c1", "1234", sandbox="s1")
    return bench


async def process(bench: EventedBench, *events: bytes) -> Found:
    """Feed these events one after the other, and return what went into the channel, in order."""
    async with bench.running(bench.evented.run):
        await bench.until(bench.clock.monotonic() + 10 * MILLISECOND)
        bench.runtime.streams[-1].push(*events)
        await bench.until(bench.clock.monotonic() + (len(events) + 1) * MILLISECOND)
    return [(event.uid, event.data or "", str(event.type)) for event in bench.events()]


def entry_time(bench: EventedBench) -> int:
    entry = bench.cache.entry("1234")
    assert entry is not None
    return entry.modified


# --- kinds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "sent"), [("created", []), ("started", [STARTED]), ("stopped", [DIED])])
@virtual
async def test_the_events_status_is_written_with_the_runtimes_time_and_then_the_event_sent(
    kind: str, sent: list[str]
) -> None:
    bench = evented()
    found = await process(bench, bench.runtime.event(kind, "c1", "s1", created_at=VIRTUAL_EPOCH + 42))
    assert found == [("1234", "c1", type_) for type_ in sent]
    status = bench.status("1234")
    assert ([c.id for c in status.containers], status.ips) == (["c1"], ("10.0.0.1",))
    assert entry_time(bench) == VIRTUAL_EPOCH + 42
    assert bench.hooks.of("cache_set") == [("1234", True)]
    assert [c.rpc for c in bench.runtime.calls] == ["GetContainerEvents"], "nothing is asked of the runtime"


@virtual
async def test_deleted_of_a_container_leaves_the_cache_alone_and_is_died_then_removed() -> None:
    bench = evented()
    before = PodStatus("1234", "as it was")
    bench.cache.set("1234", before, None, 1)
    bench.runtime.remove("c1")
    found = await process(bench, bench.runtime.event("deleted", "c1", "s1"))
    assert found == [("1234", "c1", DIED), ("1234", "c1", REMOVED)]
    assert bench.status("1234") is before
    assert entry_time(bench) == 1


@virtual
async def test_deleted_of_the_sandbox_deletes_the_pods_entry_and_is_died_then_removed() -> None:
    bench = evented()
    bench.cache.set("1234", PodStatus("1234"), None, VIRTUAL_EPOCH * 2)
    found = await process(bench, bench.runtime.event("deleted", "s1", "s1", created_at=1))
    assert found == [("1234", "s1", DIED), ("1234", "s1", REMOVED)], "however old: DELETED compares no times"
    assert "1234" not in bench.cache


@virtual
async def test_a_sandboxs_own_events_are_like_a_containers() -> None:
    bench = evented()
    found = await process(
        bench,
        bench.runtime.event("created", "s1", "s1"),
        bench.runtime.event("started", "s1", "s1"),
        bench.runtime.event("stopped", "s1", "s1"),
    )
    assert found == [("1234", "s1", STARTED), ("1234", "s1", DIED)]


@virtual
async def test_an_event_of_a_kind_that_nobody_knows_writes_the_cache_and_sends_nothing() -> None:
    """Whatever is not DELETED goes the way of Set; only the sending asks for the kind."""
    bench = evented()
    strange: Any = cri.ContainerEventResponse.FromString(bench.runtime.event("created", "c1", "s1"))
    strange.container_event_type = 9
    assert await process(bench, strange.SerializeToString()) == []
    assert [c.id for c in bench.status("1234").containers] == ["c1"]


@virtual
async def test_an_older_event_writes_nothing_and_sends_nothing_an_equal_one_does_both() -> None:
    bench = evented()
    bench.cache.set("1234", PodStatus("1234", "as it was"), None, VIRTUAL_EPOCH + 100)
    older = bench.runtime.event("stopped", "c1", "s1", created_at=VIRTUAL_EPOCH + 99)
    assert await process(bench, older) == []
    assert bench.status("1234").name == "as it was"
    assert bench.hooks.of("cache_set") == [("1234", False)]
    assert len(bench.hooks.of("container_event_latency")) == 1, "it is measured all the same"
    equal = bench.runtime.event("stopped", "c1", "s1", created_at=VIRTUAL_EPOCH + 100)
    assert await process(bench, equal) == [("1234", "c1", DIED)]


@pytest.mark.parametrize("kind", ["created", "started", "stopped", "deleted"])
@virtual
async def test_k114371_without_sandbox_status_an_event_vanishes(kind: str) -> None:
    bench = evented()
    bare = bench.runtime.event(kind, "c1", "gone")
    headless = cri.ContainerEventResponse.FromString(bench.runtime.event(kind, "c1", "s1"))
    headless.pod_sandbox_status.ClearField("metadata")
    assert await process(bench, bare, headless.SerializeToString()) == []
    assert len(bench.cache) == 0
    assert bench.hooks.of("container_event_latency") == []
    logged = bench.hooks.logged(
        "Evented PLEG: received ContainerEventResponse with nil PodSandboxStatus or PodSandboxStatus.Metadata"
    )
    assert [values["severity"] for _, values in logged] == ["E", "E"]


# --- IPs, latency, the full channel --------------------------------------------------------------------------


@virtual
async def test_ips_are_kept_as_in_generic() -> None:
    bench = evented()
    first = bench.runtime.event("started", "c1", "s1")
    bench.runtime.sandbox("s1", "1234", "notready")
    await process(bench, first, bench.runtime.event("stopped", "s1", "s1"))
    assert bench.status("1234").ips == ("10.0.0.1",)
    bench.runtime.sandbox("s1", "1234", "ready")
    await process(bench, bench.runtime.event("started", "c1", "s1"))
    assert bench.status("1234").ips == ()


@pytest.mark.parametrize("offset", [-3 * SECOND, 0, 7 * SECOND])
@virtual
async def test_the_latency_is_now_less_created_at_and_negative_where_clocks_differ(offset: int) -> None:
    bench = evented()
    await process(bench, bench.runtime.event("created", "c1", "s1", created_at=VIRTUAL_EPOCH + offset))
    [latency] = bench.hooks.of("container_event_latency")
    assert latency == 11 * MILLISECOND - offset


@virtual
async def test_a_full_channel_drops_the_event_but_not_the_write() -> None:
    bench = EventedBench(capacity=1)
    bench.runtime.sandbox("s1", "1234")
    async with bench.running(bench.evented.run):
        await bench.until(10 * MILLISECOND)
        bench.runtime.streams[-1].push(
            bench.runtime.event("started", "s1", "s1"), bench.runtime.event("deleted", "c1", "s1")
        )
        await bench.until(20 * MILLISECOND)
    assert [str(event.type) for event in bench.events()] == [STARTED]
    assert [str(event.type) for event in bench.hooks.of("event_discarded")] == [DIED, REMOVED]
    assert bench.hooks.logs("E") == ["Evented PLEG: Event channel is full, discarded pod lifecycle event"] * 2
    assert "1234" in bench.cache


# --- gauges (3.6) --------------------------------------------------------------------------------------------


def changes(bench: EventedBench) -> dict[str, int]:
    """What was added to each gauge of running containers."""
    assert all(kwargs == {"relative": True} for _, hook, _, kwargs in bench.hooks.seen if hook.startswith("running_"))
    found: dict[str, int] = {}
    for state, count in bench.hooks.of("running_containers"):
        found[str(state)] = found.get(str(state), 0) + count
    return {state: count for state, count in found.items() if count}


@virtual
async def test_containers_are_counted_by_the_difference_from_the_cached_status() -> None:
    bench = evented()
    bench.runtime.container("c2", "1234", "created", sandbox="s1")
    await process(bench, bench.runtime.event("created", "c2", "s1"))
    assert changes(bench) == {"running": 1, "created": 1}, "nothing was cached: all of it is added"
    bench.hooks.clear()
    bench.runtime.container("c1", "1234", "exited", sandbox="s1")
    bench.runtime.container("c2", "1234", "running", sandbox="s1")
    await process(bench, bench.runtime.event("started", "c2", "s1"))
    assert changes(bench) == {"created": -1, "exited": 1}


@virtual
async def test_a_cached_entry_without_sandboxes_counts_as_none_and_everything_is_added_again() -> None:
    bench = evented()
    await process(bench, bench.runtime.event("started", "c1", "s1"))
    cached = bench.status("1234")
    bench.cache.set("1234", PodStatus("1234", containers=cached.containers), None, entry_time(bench))
    bench.hooks.clear()
    await process(bench, bench.runtime.event("started", "c1", "s1"))
    assert changes(bench) == {"running": 1}


@virtual
async def test_the_pod_gauge_hardly_ever_moves_for_no_runtime_lists_the_sandbox_among_containers() -> None:
    bench = evented()
    await process(
        bench,
        bench.runtime.event("started", "s1", "s1"),
        bench.runtime.event("started", "c1", "s1"),
        bench.runtime.event("stopped", "s1", "s1"),
    )
    assert bench.hooks.of("running_pods") == []


@virtual
async def test_where_one_does_it_moves_as_upstreams_unit_test_has_it() -> None:
    bench = evented()
    bench.runtime.container("s1", "1234", "running", sandbox="s1")
    first = bench.runtime.event("started", "s1", "s1")
    bench.runtime.container("s1", "1234", "exited", sandbox="s1")
    await process(bench, first, first, bench.runtime.event("stopped", "s1", "s1"))
    assert bench.hooks.of("running_pods") == [1, -1]


@virtual
async def test_a_refused_event_moves_the_gauges_all_the_same() -> None:
    bench = evented()
    bench.cache.set("1234", PodStatus("1234"), None, VIRTUAL_EPOCH + SECOND)
    await process(bench, bench.runtime.event("started", "c1", "s1", created_at=VIRTUAL_EPOCH))
    assert changes(bench) == {"running": 1}


@virtual
async def test_k128654_a_cached_nil_status_crashes_upstream_and_is_passed_over_here() -> None:
    """Generic cached a failed inspection; the event's gauges dereference its nil status (k#128486)."""
    bench = evented()
    bench.runtime.fail("ContainerStatus", times=1)
    await bench.generic.relist()
    assert bench.cache.get("1234")[0] is None
    await bench.until(SECOND)
    found = await process(bench, bench.runtime.event("started", "c1", "s1"))
    assert len(bench.hooks.of("upstream_panic")) == 1
    assert found == [("1234", "c1", STARTED)]
    assert [c.state for c in bench.status("1234").containers] == [ContainerState.RUNNING]


@virtual
async def test_a_container_status_without_image_crashes_upstream_and_is_passed_over_here() -> None:
    """kuberuntime's toKubeContainerStatus follows status.Image (1.36.3, 1.37.2)."""
    bench = evented()
    event = cri.ContainerEventResponse.FromString(bench.runtime.event("started", "c1", "s1"))
    event.containers_statuses[0].ClearField("image")
    assert await process(bench, event.SerializeToString()) == []
    assert len(bench.hooks.of("upstream_panic")) == 1
    assert "1234" not in bench.cache


@virtual
async def test_an_error_with_a_status_is_no_crash_and_loses_the_ips() -> None:
    bench = evented()
    bench.cache.set("1234", PodStatus("1234", ips=("10.9.9.9",)), CriError(Code.UNKNOWN, "x"), 1)
    bench.runtime.sandbox("s1", "1234", "notready")
    await process(bench, bench.runtime.event("stopped", "s1", "s1"))
    assert bench.hooks.of("upstream_panic") == []
    assert bench.status("1234").ips == ()
