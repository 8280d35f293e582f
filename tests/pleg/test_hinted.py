"""Hinted PLEG (1.37): a stop event asks for a relist of that pod, and nothing else changes (3.9, row by row)."""

from __future__ import annotations

import pytest

from cri.clock import MILLISECOND, SECOND, VIRTUAL_EPOCH
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as cri
from pleg.generators.event_stream import StreamSettings
from tests.pleg.support import HintedBench, virtual

STARTED, DIED, REMOVED = "ContainerStarted", "ContainerDied", "ContainerRemoved"
OFF = "Evented PLEG: disabling container-termination fast path after exhausting event stream retries"
RETRYING = "Evented PLEG: failed to get container events, retrying"
HALF = 500 * MILLISECOND


def one_pod(**more: int) -> HintedBench:
    bench = HintedBench(**more)  # type: ignore[arg-type]
    bench.runtime.sandbox("s1", "1234")
    bench.runtime.container("c1", "1234", sandbox="s1")
    return bench


def one_pod_relists(bench: HintedBench) -> list[str]:
    return [call.uid for call in bench.runtime.calls if call.rpc == "ListPodSandbox" and call.uid]


async def feed(bench: HintedBench, *events: bytes, until: int) -> list[str]:
    bench.events()
    bench.runtime.streams[-1].push(*events)
    await bench.until(until)
    return [f"{event.type} {event.data}" for event in bench.events()]


# --- events --------------------------------------------------------------------------------------------------


@virtual
async def test_a_stop_is_known_within_milliseconds_and_by_the_relist_not_by_the_event() -> None:
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        found = await feed(bench, bench.runtime.event("stopped", "c1", "s1"), until=HALF + 10 * MILLISECOND)
        assert found == [f"{DIED} c1"]
        assert one_pod_relists(bench) == ["1234"]
        assert await feed(bench, until=3 * SECOND) == [], "no repetition"


@pytest.mark.parametrize("kind", ["created", "started", "deleted"])
@virtual
async def test_other_kinds_are_measured_and_forgotten(kind: str) -> None:
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        before = bench.cache.entry("1234")
        assert await feed(bench, bench.runtime.event(kind, "c1", "s1"), until=900 * MILLISECOND) == []
        assert one_pod_relists(bench) == []
        assert bench.cache.entry("1234") is before
        assert len(bench.hooks.of("container_event_latency")) == 1


@virtual
async def test_a_start_and_a_removal_are_seen_by_the_global_relist_alone() -> None:
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        bench.runtime.container("c2", "1234", sandbox="s1")
        assert await feed(bench, bench.runtime.event("started", "c2", "s1"), until=SECOND) == []
        assert await feed(bench, until=1100 * MILLISECOND) == [f"{STARTED} c2"]


@virtual
async def test_a_stop_of_the_sandbox_asks_too() -> None:
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        bench.runtime.sandbox("s1", "1234", "notready")
        found = await feed(bench, bench.runtime.event("stopped", "s1", "s1"), until=600 * MILLISECOND)
        assert found == [f"{DIED} s1"]


@virtual
async def test_what_the_event_says_of_states_counts_for_nothing() -> None:
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        lie = bench.runtime.event("stopped", "c1", "s1", created_at=VIRTUAL_EPOCH + 10**18)
        assert await feed(bench, lie, until=600 * MILLISECOND) == []
        assert [str(c.state) for c in bench.status("1234").containers] == ["running"]
        entry = bench.cache.entry("1234")
        assert entry is not None
        assert entry.modified < bench.clock.now()


@pytest.mark.parametrize("kind", ["stopped", "deleted"])
@virtual
async def test_without_sandbox_status_an_event_vanishes(kind: str) -> None:
    bench = one_pod()
    headless = cri.ContainerEventResponse.FromString(bench.runtime.event(kind, "c1", "s1"))
    headless.pod_sandbox_status.ClearField("metadata")
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        events = (bench.runtime.event(kind, "c1", "nowhere"), headless.SerializeToString())
        assert await feed(bench, *events, until=900 * MILLISECOND) == []
    assert bench.hooks.of("container_event_latency") == []
    assert one_pod_relists(bench) == []
    assert (
        bench.hooks.logs("E")
        == ["Evented PLEG: received ContainerEventResponse with nil PodSandboxStatus or PodSandboxStatus.Metadata"] * 2
    )


@virtual
async def test_there_is_no_merging_ten_stops_of_one_pod_make_ten_relists_of_it() -> None:
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        await feed(bench, *[bench.runtime.event("stopped", "c1", "s1")] * 10, until=900 * MILLISECOND)
        assert one_pod_relists(bench) == ["1234"] * 10


@virtual
async def test_unless_a_global_relist_started_since() -> None:
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(900 * MILLISECOND)
        bench.runtime.delays["ListPodSandbox"] = 200 * MILLISECOND
        await feed(bench, *[bench.runtime.event("stopped", "c1", "s1")] * 10, until=3 * SECOND)
        assert one_pod_relists(bench) == ["1234"]


@virtual
async def test_a_full_queue_drops_the_request_with_a_log_line() -> None:
    bench = one_pod(queue_capacity=3)
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        bench.runtime.delays["ListPodSandbox"] = 100 * MILLISECOND
        await feed(bench, *[bench.runtime.event("stopped", "c1", "s1")] * 6, until=550 * MILLISECOND)
    assert len(bench.hooks.logged("Relist request channel full; dropping relist request")) == 2


@virtual
async def test_a_request_that_hangs_blocks_the_global_relist_and_health_follows() -> None:
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        bench.runtime.hang("ListPodSandbox")
        await feed(bench, bench.runtime.event("stopped", "c1", "s1"), until=179 * SECOND)
        assert bench.generic.healthy() is None
        await bench.until(181 * SECOND)
        assert bench.generic.healthy() == "pleg was last seen active 3m1s ago; threshold is 3m0s"


# --- ends of the stream --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, CriError(Code.UNIMPLEMENTED, "unknown method GetContainerEvents")])
@virtual
async def test_five_ends_without_delay_and_the_hints_are_off_for_good_with_nothing_failing(
    error: CriError | None,
) -> None:
    """containerd 1.6, and CRI-O without enable_pod_events: at once."""
    bench = one_pod()
    bench.runtime.on_stream = lambda stream: stream.end(error)
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(30 * SECOND)
        assert bench.generic.healthy() is None
        assert (bench.generic.settings.period, bench.generic.settings.threshold) == (SECOND, 180 * SECOND)
    tried = [call.at for call in bench.runtime.calls if call.rpc == "GetContainerEvents"]
    assert tried == [number * MILLISECOND for number in range(5)], "an attempt takes 1 ms, and none waits"
    assert (bench.hooks.count("stream_connected"), bench.hooks.count("stream_ended")) == (5, 5)
    assert [values["v"] for _, values in bench.hooks.logged(RETRYING)] == [4] * 5
    [(at, values)] = bench.hooks.logged(OFF)
    assert (at, values["severity"], values["retries"]) == (5 * MILLISECOND, "E", 5)
    assert [interval // MILLISECOND for interval in bench.hooks.of("relist_started")[1:4]] == [1004, 1002, 1002]
    assert one_pod_relists(bench) == []
    calls = [call.rpc for call in bench.runtime.calls if call.rpc == "ListPodSandbox"]
    assert len(calls) == 30, "no forced relist"


@virtual
async def test_a_restart_of_the_runtime_removes_the_fast_path_for_good() -> None:
    """Measured on 1.37.2: the end of the stream and four dials; success stays at 1."""
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        bench.runtime.fail("GetContainerEvents", Code.UNAVAILABLE, "connection refused")
        bench.runtime.streams[0].end(CriError(Code.UNAVAILABLE, "transport is closing"))
        await bench.until(600 * MILLISECOND)
        bench.runtime.heal()
        await bench.until(300 * SECOND)
    assert (bench.hooks.count("stream_connected"), bench.hooks.count("stream_ended")) == (1, 5)
    assert len(bench.hooks.logged(OFF)) == 1
    assert bench.hooks.times("stream_ended")[-1] < 600 * MILLISECOND


@virtual
async def test_attempts_are_never_reset() -> None:
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.hinted.run):
        for number in range(1, 6):
            await bench.until(number * 60 * SECOND)
            assert bench.hooks.logged(OFF) == []
            bench.runtime.streams[-1].push(bench.runtime.event("started", "c1", "s1"))
            bench.runtime.streams[-1].end()
        await bench.until(301 * SECOND)
    assert bench.stream.attempts == 5
    assert len(bench.hooks.logged(OFF)) == 1


@virtual
async def test_after_that_stops_are_seen_by_the_global_relist() -> None:
    bench = one_pod()
    bench.runtime.on_stream = lambda stream: stream.end()
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(10 * SECOND)
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        assert await feed(bench, until=11 * SECOND + 20 * MILLISECOND) == [f"{DIED} c1"]


@virtual
async def test_what_is_in_the_buffer_at_the_last_end_is_still_asked_for() -> None:
    bench = HintedBench(stream=StreamSettings(retries=1))
    bench.runtime.sandbox("s1", "1234")
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        bench.runtime.streams[0].push(bench.runtime.event("stopped", "c1", "s1"))
        bench.runtime.streams[0].end()
        await bench.until(600 * MILLISECOND)
        assert one_pod_relists(bench) == ["1234"]


@virtual
async def test_the_end_of_its_task_ends_it_silently() -> None:
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        bench.hooks.clear()
    assert bench.hooks.of("stream_ended") == []
    assert bench.hooks.logs() == []


@virtual
async def test_the_cure_tries_without_limit_with_a_pause_that_grows_and_starts_anew() -> None:
    bench = HintedBench(stream=StreamSettings(retries=None, backoff=(SECOND, 60 * SECOND)))
    bench.runtime.sandbox("s1", "1234")
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        bench.runtime.fail("GetContainerEvents", Code.UNAVAILABLE)
        bench.runtime.streams[0].end()
        await bench.until(200 * SECOND)
        bench.runtime.heal()
        await bench.until(260 * SECOND)
        bench.runtime.streams[-1].push(bench.runtime.event("stopped", "c1", "s1"))
        bench.runtime.streams[-1].end()
        await bench.until(300 * SECOND)
    tried = [round(call.at / SECOND) for call in bench.runtime.calls if call.rpc == "GetContainerEvents"]
    assert tried == [0, 2, 4, 8, 16, 32, 64, 124, 184, 244, 261]
    assert bench.hooks.logged(OFF) == []
    assert one_pod_relists(bench) == ["1234"]


# --- what the gate still changes -----------------------------------------------------------------------------


def told(bench: HintedBench, timestamp: int) -> None:
    """CRI-O with enable_pod_events: the sandbox's answer has the containers and a time."""
    response = bench.runtime.sandbox_statuses["s1"]
    del response.containers_statuses[:]
    response.containers_statuses.add().CopyFrom(bench.runtime.container_statuses["c1"].status)
    response.timestamp = timestamp


@virtual
async def test_containers_come_from_the_sandboxs_answer_where_that_has_a_time() -> None:
    bench = one_pod()
    told(bench, VIRTUAL_EPOCH + 7)
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        assert "ContainerStatus/c1" not in bench.runtime.asked()
        status = bench.status("1234")
        assert ([c.id for c in status.containers], status.active_containers) == (["c1"], ())
        assert status.timestamp == VIRTUAL_EPOCH + 7


@virtual
async def test_the_write_is_dated_by_the_pods_own_time_all_the_same() -> None:
    """In 1.37.2's source Set has pod.Timestamp, so a runtime's clock cannot freeze the cache."""
    bench = one_pod()
    told(bench, VIRTUAL_EPOCH + 10**17)
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        entry = bench.cache.entry("1234")
        assert entry is not None
        assert entry.modified == VIRTUAL_EPOCH
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        told(bench, 1)  # the runtime's clock steps back by years
        assert await feed(bench, until=2 * SECOND) == [f"{DIED} c1"]
        assert [str(c.state) for c in bench.status("1234").containers] == ["exited"]


@virtual
async def test_a_refused_write_is_followed_by_its_events_and_the_record_advances() -> None:
    """1.37 ignores the refusal; here somebody wrote an entry of a later time."""
    bench = one_pod()
    async with bench.running(bench.generic.run, bench.hinted.run):
        await bench.until(HALF)
        status = bench.status("1234")
        bench.cache.set("1234", status, None, VIRTUAL_EPOCH + 10**12)
        bench.runtime.container("c1", "1234", "exited", sandbox="s1")
        assert await feed(bench, until=2 * SECOND) == [f"{DIED} c1"]
        assert bench.status("1234") is status, "the sync loop acts on a state that is not in the cache"
        assert ("1234", False) in bench.hooks.of("cache_set")
        assert await feed(bench, until=4 * SECOND) == []
