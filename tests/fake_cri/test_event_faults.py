"""What faults do to the event stream: to single events on their way, and to the stream itself."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing

from cri.clock import SECOND, Clock
from cri.methods import METHODS
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb
from cri.virtual_time import run_virtual, virtual_clock
from fake_cri.faults import parse_fault
from fake_cri.runtime import FakeRuntime

from .support import Client, profile_named

EVENTS = METHODS["GetContainerEvents"]
Body = Callable[[Clock], Awaitable[None]]


def on_asyncio(body: Body) -> None:
    async def main() -> None:
        await body(virtual_clock())

    run_virtual(main)


def on_trio(body: Body) -> None:
    async def main() -> None:
        await body(Clock(lambda: round(trio.current_time() * SECOND), wall_base=SECOND))

    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(main, backend="trio", backend_options={"clock": clock})


def on_both(test: Body) -> Callable[[Callable[[Body], None]], None]:
    """The test runs on asyncio and on trio, in virtual time on both."""

    @pytest.mark.parametrize("run", [on_asyncio, on_trio], ids=["asyncio", "trio"])
    @functools.wraps(test, assigned=("__name__", "__doc__", "__module__"))
    def wrapper(run: Callable[[Body], None]) -> None:
        run(test)

    del wrapper.__wrapped__  # pytest would read its parameters
    return wrapper


Seen = list[tuple[float, pb.ContainerEventResponse]]


class Watched:
    """A runtime and one subscriber, which notes when each event arrives."""

    def __init__(self, clock: Clock, *faults: str, seed: int = 1) -> None:
        plans = [parse_fault(text) for text in faults]
        self.runtime = FakeRuntime(profile_named("containerd-2.4"), clock=clock, faults=plans, seed=seed)
        self.client = Client(self.runtime)
        self.seen: Seen = []
        self.end = ""

    def arrivals(self) -> list[tuple[int, str]]:
        """The second of arrival, and the pod and type."""
        return [
            (round(second), f"{event.pod_sandbox_status.metadata.name} {event.container_event_type}")
            for second, event in self.seen
        ]

    async def watch(self) -> None:
        begin = self.runtime.clock.monotonic()
        self.end = "OK"
        try:
            async for message in self.runtime.stream(EVENTS, b""):
                second = (self.runtime.clock.monotonic() - begin) / SECOND
                self.seen.append((second, pb.ContainerEventResponse.FromString(message)))
        except CriError as error:
            self.end = error.code.name

    async def over(self, *moments: int, until: int = 100) -> None:
        """A pod is run at each of these seconds, while the subscriber watches."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.watch)
            await anyio.lowlevel.checkpoint()
            with anyio.move_on_after(until):
                at = 0
                for moment in moments:
                    await anyio.sleep(moment - at)
                    await self.client.run(f"p{moment}")
                    at = moment
                await anyio.sleep(until)
            tasks.cancel_scope.cancel()


@on_both
async def test_dropped_events(clock: Clock) -> None:
    node = Watched(clock, "Event: 1*off->2*drop->off")
    await node.over(1, 2)
    assert node.arrivals() == [(1, "p1 0"), (2, "p2 1")]


@on_both
async def test_chosen_pods_alone(clock: Clock) -> None:
    node = Watched(clock, "Event[pod=ns/p2]: drop")
    await node.over(1, 2, 3)
    assert [what for _, what in node.arrivals()] == ["p1 0", "p1 1", "p3 0", "p3 1"]


@on_both
async def test_in_a_span_and_after_so_many(clock: Clock) -> None:
    node = Watched(clock, "Event @2s..4s after 1 calls: drop")
    await node.over(1, 2, 3, 5)
    assert [what for _, what in node.arrivals()] == ["p1 0", "p1 1", "p5 0", "p5 1"]


@on_both
async def test_duplicates(clock: Clock) -> None:
    node = Watched(clock, "Event: 1*duplicate->1*duplicate(3)")
    await node.over(1)
    assert [what for _, what in node.arrivals()] == ["p1 0"] * 2 + ["p1 1"] * 3
    assert node.seen[0][1] == node.seen[1][1]


@on_both
async def test_a_delayed_event_is_not_overtaken(clock: Clock) -> None:
    node = Watched(clock, "Event: 1*delay(10s)->off")
    await node.over(1, 5, 20)
    assert node.arrivals() == [(11, "p1 0"), (11, "p1 1"), (11, "p5 0"), (11, "p5 1"), (20, "p20 0"), (20, "p20 1")]


@on_both
async def test_a_reordered_event_is_overtaken(clock: Clock) -> None:
    node = Watched(clock, "Event: 1*reorder(10s)->off")
    await node.over(1, 5, 20)
    assert node.arrivals() == [(1, "p1 1"), (5, "p5 0"), (5, "p5 1"), (11, "p1 0"), (20, "p20 0"), (20, "p20 1")]


@on_both
async def test_a_late_burst(clock: Clock) -> None:
    node = Watched(clock, "Event: burst(10s)->off")
    await node.over(1, 5, 20)
    assert [second for second, _ in node.arrivals()] == [11, 11, 11, 11, 20, 20]
    assert [what for _, what in node.arrivals()][:4] == ["p1 0", "p1 1", "p5 0", "p5 1"]


@on_both
async def test_what_events_carry(clock: Clock) -> None:
    node = Watched(clock, "Event: 1*no_sandbox->1*created_at(seconds)->1*created_at(milliseconds)->1*created_at(1h)")
    await node.over(1, 2)
    bare, seconds, milliseconds, future = (event for _, event in node.seen)
    assert not bare.HasField("pod_sandbox_status")
    assert seconds.created_at * SECOND == pytest.approx(bare.created_at, abs=2 * SECOND)
    assert milliseconds.created_at * 1_000_000 == pytest.approx(bare.created_at, abs=2 * SECOND)
    assert future.created_at - bare.created_at == pytest.approx(3601 * SECOND, abs=SECOND)


@on_both
async def test_events_without_statuses(clock: Clock) -> None:
    node = Watched(clock)
    node.runtime.arm(parse_fault("Event[container=main]: 1*off->no_statuses"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.watch)
        await anyio.sleep(1)
        await node.client.start(await node.client.run())
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()
    assert [len(event.containers_statuses) for _, event in node.seen] == [0, 0, 1, 0]


@on_both
async def test_two_faults_of_events_both_act(clock: Clock) -> None:
    node = Watched(clock, "Event: duplicate", "Event: delay(5s)", "Event: 1*drop->off")
    await node.over(1)
    assert node.arrivals() == [(6, "p1 0"), (6, "p1 1"), (6, "p1 1")]


@on_both
async def test_chance_follows_the_seed(clock: Clock) -> None:
    async def kept(seed: int) -> list[tuple[int, str]]:
        node = Watched(clock, "Event: drop p=0.5", seed=seed)
        await node.over(*range(1, 50))
        return node.arrivals()

    first = await kept(1)
    assert 25 < len(first) < 75
    assert first == await kept(1) != await kept(2)


@pytest.mark.parametrize(
    ("fault", "end", "count"),
    [
        ("1*end(3s)", "OK", 4),
        ("1*reset(3s)", "UNAVAILABLE", 4),
        ("1*end", "OK", 0),
        ("1*reset", "UNAVAILABLE", 0),
        ("1*error(unimplemented)", "UNIMPLEMENTED", 0),
    ],
)
@pytest.mark.parametrize("run", [on_asyncio, on_trio], ids=["asyncio", "trio"])
def test_a_stream_that_ends(run: Callable[[Body], None], fault: str, end: str, count: int) -> None:
    async def body(clock: Clock) -> None:
        node = Watched(clock, f"GetContainerEvents: {fault}->off")
        await node.over(1, 2, 4)
        assert (node.end, len(node.seen)) == (end, count)
        assert node.runtime.events.subscribers == 0
        await node.over(5)
        assert len(node.seen) == count + 2

    run(body)


@on_both
async def test_an_end_that_comes_first_is_kept(clock: Clock) -> None:
    node = Watched(clock, "StreamContainers: end(1h)", "StreamPodSandboxes: reset")
    await node.client.start(await node.client.run())
    assert len(await node.client.stream("StreamContainers")) == 1
    assert clock.monotonic() < 60 * SECOND
    with pytest.raises(CriError) as caught:
        await node.client.stream("StreamPodSandboxes")
    assert caught.value.code is Code.UNAVAILABLE
