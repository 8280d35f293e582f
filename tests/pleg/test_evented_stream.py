"""Evented PLEG (1.26-1.36): the life of its stream, its five attempts, its fallback, its health (3.2 and 3.4)."""

from __future__ import annotations

import pytest

from cri.clock import HOUR, MILLISECOND, MINUTE, SECOND, VIRTUAL_EPOCH
from cri.transport import Code, CriError
from pleg.generators.event_stream import StreamSettings
from pleg.generators.generic import RelistSettings
from pleg.pods import EventType, PodLifecycleEvent
from tests.pleg.scripted_runtime import ScriptedRuntime
from tests.pleg.support import EventedBench, virtual

FALLBACK = "Fall back to Generic PLEG relisting since Evented PLEG is not working"
RETRYING = "Evented PLEG: Failed to get container events, retrying: "


def relists(runtime: ScriptedRuntime) -> list[int]:
    return [call.at for call in runtime.calls if call.rpc == "ListPodSandbox" and not call.uid]


def attempts(runtime: ScriptedRuntime) -> list[int]:
    return [call.at for call in runtime.calls if call.rpc == "GetContainerEvents"]


# --- while it works ------------------------------------------------------------------------------------------


@virtual
async def test_it_opens_the_stream_relists_once_and_ticks_the_caches_time_each_five_seconds() -> None:
    bench = EventedBench()
    async with bench.running(bench.generic.run, bench.evented.run):
        ticks = []
        for second in (0.5, 4.5, 5.5, 9.5, 10.5, 60.5):
            await bench.until(round(second * SECOND))
            assert bench.cache.time is not None
            ticks.append((bench.cache.time - VIRTUAL_EPOCH) // SECOND)
        assert ticks == [0, 0, 5, 5, 10, 60]
        assert bench.hooks.count("stream_connected") == 1
        await bench.until(650 * SECOND)
    assert attempts(bench.runtime) == [0]
    assert [at // SECOND for at in relists(bench.runtime)] == [0, 300, 600], "300 s after completion"
    assert bench.hooks.of("stream_ended") == []


@virtual
async def test_the_tick_goes_on_while_a_relist_hangs() -> None:
    """k#127954: the whole cache is declared fresh without anybody having asked the runtime."""
    bench = EventedBench()
    bench.runtime.hang("ListPodSandbox")
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(60 * SECOND + MILLISECOND)
        assert bench.cache.time == VIRTUAL_EPOCH + 60 * SECOND


@virtual
async def test_a_relist_can_move_the_caches_time_backwards_after_a_tick() -> None:
    bench = EventedBench()
    bench.runtime.delays["ListPodSandbox"] = 7 * SECOND
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(6 * SECOND)
        assert bench.cache.time == VIRTUAL_EPOCH + 5 * SECOND
        await bench.until(8 * SECOND)
    assert bench.cache.time == VIRTUAL_EPOCH, "the relist's start"


# --- ends of the stream --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, CriError(Code.UNAVAILABLE, "transport is closing")])
@virtual
async def test_any_end_counts_forces_a_relist_and_is_followed_at_once_by_another_attempt(
    error: CriError | None,
) -> None:
    bench = EventedBench()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(50 * SECOND)
        assert bench.stream.attempts == 0
        bench.runtime.streams[0].end(error)
        await bench.until(60 * SECOND)
        assert bench.stream.attempts == 1
    assert relists(bench.runtime) == [0, 50 * SECOND]
    assert attempts(bench.runtime) == [0, 50 * SECOND + 2 * MILLISECOND], "as soon as the relist is done"
    assert len(bench.hooks.of("stream_ended")) == 1
    assert bench.hooks.count("stream_connected") == 2
    [(_, values)] = bench.hooks.logged(RETRYING)
    assert (values["v"], str(values["err"])) == (4, "EOF" if error is None else str(error))


@virtual
async def test_the_forced_relist_waits_for_the_one_under_way() -> None:
    bench = EventedBench()
    bench.runtime.delays["ListContainers"] = 20 * SECOND
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(5 * SECOND)
        bench.runtime.streams[0].end()
        await bench.until(50 * SECOND)
    assert relists(bench.runtime) == [0, 20 * SECOND + MILLISECOND]
    assert attempts(bench.runtime) == [0, 40 * SECOND + 2 * MILLISECOND]


@virtual
async def test_attempts_are_never_reset_by_success() -> None:
    """k#129827: five restarts of the runtime, however far apart, and it is over."""
    bench = EventedBench()
    async with bench.running(bench.generic.run, bench.evented.run):
        for hour in range(1, 6):
            await bench.until(hour * HOUR)
            assert bench.evented.in_use
            bench.runtime.streams[-1].push(b"")
            bench.runtime.streams[-1].end(CriError(Code.UNAVAILABLE, "restarted"))
        await bench.until(5 * HOUR + SECOND)
        in_use = bench.evented.in_use
    assert not in_use
    assert len(bench.hooks.logged(FALLBACK)) == 1


@pytest.mark.parametrize(
    ("end", "connected"),
    [
        (CriError(Code.UNIMPLEMENTED, "unknown method GetContainerEvents"), 5),  # containerd 1.6
        (None, 5),  # CRI-O without enable_pod_events
    ],
)
@virtual
async def test_five_ends_at_once_fall_back_with_success_and_error_counters_at_five(
    end: CriError | None, connected: int
) -> None:
    bench = EventedBench()
    bench.runtime.on_stream = lambda stream: stream.end(end)
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
    assert bench.hooks.count("stream_connected") == connected, "before the server has answered"
    assert bench.hooks.count("stream_ended") == 5
    assert len(attempts(bench.runtime)) == 5


@virtual
async def test_k129827_an_outage_longer_than_five_dials_falls_back_within_milliseconds() -> None:
    """The counters as measured on 1.36.3: the stream's end, four failed dials, five forced relists that fail."""
    bench = EventedBench()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(30 * SECOND)
        for rpc in ("GetContainerEvents", "ListPodSandbox"):
            bench.runtime.fail(rpc, Code.UNAVAILABLE, "connection refused")
        bench.runtime.streams[0].end(CriError(Code.UNAVAILABLE, "transport is closing"))
        await bench.until(31 * SECOND)
        in_use = bench.evented.in_use
        bench.runtime.heal()
        await bench.until(200 * SECOND)
    assert not in_use
    assert (bench.hooks.count("stream_connected"), bench.hooks.count("stream_ended")) == (1, 5)
    [(at, _)] = bench.hooks.logged(FALLBACK)
    assert at - 30 * SECOND < 15 * MILLISECOND
    assert len(attempts(bench.runtime)) == 5, "for good, although the runtime came back"


# --- the fallback --------------------------------------------------------------------------------------------


@virtual
async def test_the_sequence_of_a_fallback() -> None:
    bench = EventedBench()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(100 * SECOND)
        bench.runtime.on_stream = lambda stream: stream.end()
        bench.runtime.streams[0].end()
        await bench.until(110 * SECOND)
        in_use, settings = bench.evented.in_use, bench.generic.settings
        ticked = bench.cache.time
    assert not in_use
    assert (settings.period, settings.threshold) == (SECOND, 3 * MINUTE)
    times = relists(bench.runtime)
    began = [at - 100 * SECOND for at in times if at >= 100 * SECOND]
    # One forced relist (2 ms) at each end, an attempt (1 ms) between them; then generic starts with one at once.
    assert [at // MILLISECOND for at in began[:7]] == [0, 3, 6, 9, 12, 14, 1016]
    assert len(began) == 15, "one a second from then"
    assert ticked == VIRTUAL_EPOCH + times[-1], "the 5 s tick is over: only relists declare the cache fresh"


@virtual
async def test_after_the_fallback_nothing_but_relists_declares_the_cache_fresh() -> None:
    bench = EventedBench()
    bench.runtime.on_stream = lambda stream: stream.end()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(SECOND)
        bench.runtime.hang("ListPodSandbox")
        before = bench.cache.time
        await bench.until(60 * SECOND)
        assert bench.cache.time == before


@virtual
async def test_after_the_fallback_generic_is_late_after_three_minutes() -> None:
    bench = EventedBench()
    bench.runtime.on_stream = lambda stream: stream.end()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(SECOND)
        bench.runtime.hang("ListPodSandbox")
        await bench.until(179 * SECOND)
        verdicts = [bench.generic.healthy()]
        await bench.until(182 * SECOND)
        verdicts.append(bench.generic.healthy())
    assert verdicts[0] is None
    assert verdicts[1] is not None
    assert verdicts[1].endswith("threshold is 3m0s")


@virtual
async def test_before_it_generic_is_late_only_after_ten_minutes() -> None:
    bench = EventedBench()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(SECOND)
        bench.runtime.hang("ListPodSandbox")
        await bench.until(600 * SECOND)
        assert bench.generic.healthy() is None
        await bench.until(601 * SECOND)
        assert bench.generic.healthy() == "pleg was last seen active 10m1s ago; threshold is 10m0s"


@virtual
async def test_what_is_in_the_buffer_at_the_last_end_is_still_processed() -> None:
    bench = EventedBench(stream=StreamSettings(retries=1))
    bench.runtime.sandbox("s1", "1234")
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(SECOND)
        bench.events()
        stream = bench.runtime.streams[0]
        stream.push(*(bench.runtime.event("started", f"c{n}", "s1") for n in range(3)))
        stream.end()
        await bench.until(2 * SECOND)
    assert [event[1] for event in bench.sorted_events()] == ["c0", "c1", "c2"]


@virtual
async def test_fallback_settings_are_those_asked_for() -> None:
    bench = EventedBench(fallback=RelistSettings(10 * SECOND, MINUTE), stream=StreamSettings(retries=1))
    bench.runtime.on_stream = lambda stream: stream.end()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(55 * SECOND)
    assert [at // SECOND for at in relists(bench.runtime)] == [0, 0, 0, 10, 20, 30, 40, 50]


# --- the cure: unlimited attempts with a pause -----------------------------------------------------------------


@virtual
async def test_unlimited_attempts_with_a_growing_pause_never_fall_back_and_come_back() -> None:
    bench = EventedBench(stream=StreamSettings(retries=None, backoff=(SECOND, 4 * SECOND)))
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(10 * SECOND)
        bench.runtime.fail("GetContainerEvents", Code.UNAVAILABLE)
        bench.runtime.streams[0].end()
        await bench.until(40 * SECOND)
        bench.runtime.heal()
        await bench.until(50 * SECOND)
        in_use = bench.evented.in_use
    assert in_use
    tried = [round(at / SECOND) for at in attempts(bench.runtime)]
    assert tried == [0, 11, 13, 17, 21, 25, 29, 33, 37, 41]
    assert bench.hooks.count("stream_connected") == 2
    assert relists(bench.runtime)[-1] // SECOND == 41, "looks once more when the stream is up again"


# --- health --------------------------------------------------------------------------------------------------


@virtual
async def test_its_health_fakes_last_seen_as_now() -> None:
    bench = EventedBench()
    bench.runtime.hang("ListPodSandbox")
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(100 * SECOND)
        assert bench.evented.healthy() is None
    assert bench.hooks.of("last_seen") == [(VIRTUAL_EPOCH // SECOND) + 100], "though no relist ever succeeded"


@virtual
async def test_it_fakes_last_seen_after_the_fallback_too() -> None:
    bench = EventedBench()
    bench.runtime.on_stream = lambda stream: stream.end()
    async with bench.running(bench.generic.run, bench.evented.run):
        await bench.until(SECOND)
        bench.runtime.hang("ListPodSandbox")
        await bench.until(300 * SECOND)
        assert bench.generic.healthy() is not None
        assert bench.evented.healthy() is None
    seen = [at - VIRTUAL_EPOCH // SECOND for at in bench.hooks.of("last_seen")]
    assert seen == [0, 300], "the generic check tells the truth, and the evented one after it overwrites it"


@virtual
async def test_it_is_unhealthy_only_while_the_channel_is_full() -> None:
    bench = EventedBench(capacity=3)
    for number in range(2):
        bench.channel.send(PodLifecycleEvent("u", EventType.POD_SYNC, str(number)))
    assert bench.evented.healthy() is None
    bench.hooks.clear()
    bench.channel.send(PodLifecycleEvent("u", EventType.POD_SYNC))
    assert bench.evented.healthy() == "EventedPLEG: pleg event channel capacity is full with 3 events"
    assert bench.hooks.of("last_seen") == [], "it does not fake anything then"
    bench.channel.receive()
    assert bench.evented.healthy() is None
