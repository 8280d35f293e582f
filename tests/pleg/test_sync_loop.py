"""The sync loop: what it reads, in which order, and when it reads nothing (section 5.1 of the kubelet's facts)."""

from __future__ import annotations

import random
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
import pytest

from cri.clock import MILLISECOND, MINUTE, SECOND, seconds
from cri.virtual_time import run_virtual
from pleg.cache import PodCache
from pleg.channel import EventChannel
from pleg.node.pod_workers import PodWorkers
from pleg.node.sync_loop import SyncLoop
from pleg.node.ticker import Ticker
from pleg.pods import EventType, PodLifecycleEvent, PodStatus
from tests.pleg.support import Recording, current_clock, running, virtual


class Loop:
    """A sync loop whose runtime errors and housekeeping the test decides."""

    def __init__(self, *, seed: int = 1) -> None:
        self.clock = current_clock()
        self.hooks = Recording(self.clock)
        self.cache = PodCache()
        self.channel = EventChannel(1000, self.hooks)
        self.workers = PodWorkers(self.cache, self.clock, self.hooks, random.Random(seed))
        self.errors: list[str] = []
        self.housekeeping_takes = MILLISECOND
        self.housekeepings: list[int] = []
        self.loop = SyncLoop(
            self.channel,
            self.cache,
            self.workers,
            self._housekeeping,
            lambda: self.errors,
            self.clock,
            self.hooks,
            random.Random(seed),
        )

    async def _housekeeping(self) -> None:
        self.housekeepings.append(self.clock.monotonic())
        self.hooks.log("I", "test", "housekeeping")
        await anyio.sleep(seconds(self.housekeeping_takes))

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            self.workers.start(tasks)
            tasks.start_soon(self.loop.run)

    def send(self, uid: str, type_: EventType = EventType.CONTAINER_STARTED, id_: str = "c1") -> None:
        self.channel.send(PodLifecycleEvent(uid, type_, id_))

    def read(self) -> list[tuple[int, str]]:
        return [(at, args[0].uid) for at, hook, args, _ in self.hooks.seen if hook == "event_read"]

    async def until(self, monotonic: int) -> None:
        await anyio.sleep(seconds(monotonic - self.clock.monotonic()))


# --- reading -------------------------------------------------------------------------------------------------


@virtual
async def test_an_event_is_read_at_once() -> None:
    bench = Loop()
    async with running(bench.run):
        await bench.until(1234 * MILLISECOND)
        bench.send("u1")
        bench.send("u2")
        await bench.until(1235 * MILLISECOND)
    assert bench.read() == [(1234 * MILLISECOND, "u1"), (1234 * MILLISECOND, "u2")]


@virtual
async def test_an_event_is_logged_with_its_pod_and_wakes_the_pods_worker() -> None:
    bench = Loop()
    bench.cache.set("u1", PodStatus("u1", "web", "prod"), None, bench.clock.now())
    async with running(bench.run):
        bench.send("u1")
        await bench.until(100 * MILLISECOND)
    [(_, values)] = bench.hooks.logged("SyncLoop (PLEG): event for pod")
    assert (values["pod"], values["v"], values["severity"]) == ("prod/web", 2, "I")
    assert values["event"] == {"ID": "u1", "Type": "ContainerStarted", "Data": "c1"}
    assert [uid for uid, _ in bench.hooks.of("pod_synced")] == ["u1"]
    assert bench.workers.pods["u1"].name == "web"


@virtual
async def test_removed_is_read_and_wakes_nobody() -> None:
    bench = Loop()
    bench.cache.set("u1", PodStatus("u1"), None, bench.clock.now())
    async with running(bench.run):
        bench.send("u1", EventType.CONTAINER_REMOVED)
        await bench.until(100 * MILLISECOND)
    assert [uid for _, uid in bench.read()] == ["u1"]
    assert bench.hooks.logged("SyncLoop (PLEG): event for pod") == []
    assert bench.workers.pods == {}


@pytest.mark.parametrize("type_", [EventType.CONTAINER_STARTED, EventType.CONTAINER_DIED, EventType.POD_SYNC])
@virtual
async def test_every_other_type_is_worth_a_sync(type_: EventType) -> None:
    bench = Loop()
    async with running(bench.run):
        bench.send("u1", type_)
        await bench.until(100 * MILLISECOND)
        assert "u1" in bench.workers.pods


@virtual
async def test_a_pod_is_forgotten_when_its_removed_was_read_and_the_cache_has_no_entry() -> None:
    bench = Loop()
    bench.cache.set("u1", PodStatus("u1"), None, bench.clock.now())
    async with running(bench.run):
        bench.send("u1")
        bench.send("u1", EventType.CONTAINER_REMOVED, "c0")
        await bench.until(SECOND)
        assert "u1" in bench.workers.pods, "another container of it was removed"
        bench.cache.delete("u1")
        bench.send("u1", EventType.CONTAINER_REMOVED)
        await bench.until(2 * SECOND)
        assert bench.workers.pods == {}


# --- choosing ------------------------------------------------------------------------------------------------


async def _choices(seed: int) -> str:
    """What was chosen, turn by turn: (e)vent or (h)ousekeeping, both of which are ready almost always."""
    bench = Loop(seed=seed)
    bench.housekeeping_takes = 2 * SECOND

    async def refill() -> None:
        while True:
            await anyio.sleep(1)
            while len(bench.channel) < 5:
                bench.send("u1")

    async with running(bench.run, refill):
        await bench.until(40 * SECOND)
    turns = [
        (at, number, "e" if hook == "event_read" else "h")
        for number, (at, hook, args, _) in enumerate(bench.hooks.seen)
        if hook == "event_read" or (hook == "log" and args[2] == "housekeeping")
    ]
    return "".join(what for _, _, what in turns)


def test_one_ready_source_is_chosen_at_random_and_the_seed_decides() -> None:
    """One turn, one source, no priority: neither events nor ticks wait for the other to be used up."""
    chosen = [run_virtual(partial(_choices, seed)) for seed in (1, 1, 2, 3)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) == 3
    for order in chosen:
        assert "he" in order
        assert "hh" in order, "now and then a tick is chosen although events wait"
        assert "ee" in order


# --- tickers -------------------------------------------------------------------------------------------------


@virtual
async def test_housekeeping_comes_every_two_seconds_from_the_loops_start() -> None:
    bench = Loop()
    async with running(bench.run):
        await bench.until(9 * SECOND)
    assert bench.housekeepings == [2 * SECOND, 4 * SECOND, 6 * SECOND, 8 * SECOND]


@virtual
async def test_housekeeping_holds_the_loop_and_missed_ticks_are_dropped() -> None:
    bench = Loop()
    bench.housekeeping_takes = 7 * SECOND
    async with running(bench.run):
        await bench.until(3 * SECOND)
        bench.send("u1")
        await bench.until(20 * SECOND)
    assert bench.housekeepings[:2] == [2 * SECOND, 9 * SECOND], "one tick was kept, of 4 s, 6 s and 8 s"
    [(at, _)] = bench.read()
    assert at in (9 * SECOND, 16 * SECOND), "not before the housekeeping was done"


def test_a_ticker_keeps_one_tick_and_its_old_rate() -> None:
    now = [0]
    clock: Any = type("Clock", (), {"monotonic": lambda self: now[0]})()
    ticker = Ticker(clock, 10)
    found = []
    for at in (0, 9, 10, 35, 36, 40, 50):
        now[0] = at
        found.append((at, ticker.ready()))
        if ticker.ready():
            ticker.take()
    assert found == [(0, False), (9, False), (10, True), (35, True), (36, False), (40, True), (50, True)]


# --- skipping ------------------------------------------------------------------------------------------------


@virtual
async def test_with_errors_it_reads_nothing_and_pauses_longer_and_longer() -> None:
    bench = Loop()
    bench.errors = ["PLEG is not healthy: x"]
    bench.send("u1")
    async with running(bench.run):
        await bench.until(30 * SECOND)
        assert bench.read() == []
        assert bench.housekeepings == []
    logged = bench.hooks.logged("Skipping pod synchronization")
    assert {(values["severity"], values["err"]) for _, values in logged} == {("E", "PLEG is not healthy: x")}
    pauses = [pause // MILLISECOND for _, pause in bench.hooks.of("sync_skipped")]
    assert pauses == [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000, 5000]
    begin = [at // MILLISECOND for at, _ in logged]
    assert [later - earlier for earlier, later in pairwise(begin)] == pauses[:-1]


@virtual
async def test_the_first_good_turn_resets_the_pause() -> None:
    bench = Loop()
    async with running(bench.run):
        for round_ in range(2):
            bench.errors = ["x"]
            await bench.until((5 + 10 * round_) * SECOND)
            bench.errors = []
            bench.send("u1")
            await bench.until((10 + 10 * round_) * SECOND)
    pauses = [pause // MILLISECOND for _, pause in bench.hooks.of("sync_skipped")]
    assert pauses.count(100) == 2
    assert len(bench.read()) == 2


@virtual
async def test_several_errors_are_logged_as_one_aggregate() -> None:
    bench = Loop()
    bench.errors = ["a", "b", "a"]
    async with running(bench.run):
        await bench.until(MILLISECOND)
    assert bench.hooks.of("sync_skipped")[0] == ("[a, b]", 100 * MILLISECOND)


# --- /healthz ------------------------------------------------------------------------------------------------


@virtual
async def test_it_fails_healthz_five_minutes_after_it_was_last_entered_and_skipped_turns_are_no_entries() -> None:
    bench = Loop()
    async with running(bench.run):
        last = 10 * SECOND + 500 * MILLISECOND
        await bench.until(last)
        bench.errors = ["x"]
        bench.send("u1")  # lets the turn under way end
        await bench.until(last + 5 * MINUTE)
        verdicts = [bench.loop.health()]
        await bench.until(last + 5 * MINUTE + 1)
        verdicts.append(bench.loop.health())
        bench.errors = []
        await bench.until(6 * MINUTE)
        verdicts.append(bench.loop.health())
    assert verdicts == [None, "sync Loop took longer than expected", None]


@virtual
async def test_one_that_was_never_entered_is_well() -> None:
    """LatestLoopEntryTime is zero until the first good turn."""
    bench = Loop()
    bench.errors = ["x"]
    async with running(bench.run):
        await bench.until(30 * MINUTE)
        assert bench.loop.health() is None


@virtual
async def test_a_hung_housekeeping_fails_healthz_too() -> None:
    bench = Loop()
    bench.housekeeping_takes = 60 * MINUTE
    async with running(bench.run):
        await bench.until(2 * SECOND + 5 * MINUTE - SECOND)
        verdicts = [bench.loop.health()]
        await bench.until(2 * SECOND + 5 * MINUTE + SECOND)
        verdicts.append(bench.loop.health())
    assert verdicts == [None, "sync Loop took longer than expected"]
