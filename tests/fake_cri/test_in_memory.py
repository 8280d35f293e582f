"""The in-memory transport: costs, deadlines, limits, breaks, and streams, on asyncio in virtual time and on trio."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio
import trio.testing

from cri.clock import MICROSECOND, MILLISECOND, SECOND, Clock
from cri.methods import METHODS
from cri.transport import Code, CriError, Transport
from cri.v1 import api_pb2 as pb
from cri.virtual_time import run_virtual, virtual_clock
from fake_cri.faults import parse_fault
from fake_cri.in_memory import InMemoryTransport
from fake_cri.runtime import FakeRuntime
from fake_cri.workload import Workload

from .support import make_runtime, profile_named, sandbox_config

VERSION, LIST, EVENTS = METHODS["Version"], METHODS["ListContainers"], METHODS["GetContainerEvents"]

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


def on_both(test: Body) -> Callable[[Any], None]:
    """The test runs on asyncio and on trio, in virtual time on both."""

    @pytest.mark.parametrize("run", [on_asyncio, on_trio], ids=["asyncio", "trio"])
    @functools.wraps(test, assigned=("__name__", "__doc__", "__module__"))
    def wrapper(run: Callable[[Body], None]) -> None:
        run(test)

    del wrapper.__wrapped__  # pytest would read its parameters
    return wrapper


def runtime_on(clock: Clock, *faults: str, profile: str = "containerd-2.4") -> FakeRuntime:
    return FakeRuntime(profile_named(profile), clock=clock, faults=[parse_fault(text) for text in faults])


async def ends(transport: Transport, rpc: str = "Version", timeout_ns: int | None = None) -> CriError:
    with pytest.raises(CriError) as caught:
        await transport.unary(METHODS[rpc], b"", timeout_ns=timeout_ns)
    return caught.value


@on_both
async def test_a_call_takes_time(clock: Clock) -> None:
    transport: Transport = InMemoryTransport(runtime_on(clock))
    begin = clock.monotonic()
    answer = pb.VersionResponse.FromString(await transport.unary(VERSION, b"", timeout_ns=None))
    assert answer.runtime_name == "containerd"
    assert 300 * MICROSECOND < clock.monotonic() - begin < 2 * MILLISECOND


@on_both
async def test_a_missed_deadline(clock: Clock) -> None:
    runtime = runtime_on(clock, "Version: hang(30s)->off")
    transport = InMemoryTransport(runtime)
    begin = clock.monotonic()
    error = await ends(transport, timeout_ns=2 * SECOND)
    assert str(error) == "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
    assert 2 * SECOND <= clock.monotonic() - begin <= 2 * SECOND + MILLISECOND
    await transport.unary(VERSION, b"", timeout_ns=40 * SECOND)
    assert 30 * SECOND <= clock.monotonic() - begin <= 30 * SECOND + 2 * MILLISECOND


@on_both
async def test_a_callers_own_timeout_leaves_no_trace(clock: Clock) -> None:
    transport = InMemoryTransport(runtime_on(clock, "Version: 1*hang(30s)->off"))
    with anyio.move_on_after(1) as scope:
        await transport.unary(VERSION, b"", timeout_ns=120 * SECOND)
    assert scope.cancelled_caught
    await transport.unary(VERSION, b"", timeout_ns=SECOND)


@on_both
async def test_an_answer_beyond_16_mib(clock: Clock) -> None:
    error = await ends(InMemoryTransport(runtime_on(clock, "ListContainers: oversized")), "ListContainers")
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert error.message == "grpc: received message larger than max (17825792 vs. 16777216)"


@on_both
async def test_errors_of_the_runtime_arrive_as_they_are(clock: Clock) -> None:
    error = await ends(InMemoryTransport(runtime_on(clock)), "PodSandboxStatus")
    assert error.code is Code.UNKNOWN


@on_both
async def test_a_runtime_that_goes_down_and_comes_back(clock: Clock) -> None:
    transport = InMemoryTransport(runtime_on(clock, "ListContainers: hang(30s)->off"))
    errors: list[CriError] = []

    async def hung() -> None:
        errors.append(await ends(transport, "ListContainers", timeout_ns=120 * SECOND))

    async def streaming() -> None:
        with pytest.raises(CriError) as caught:
            async with transport.stream(EVENTS, b"") as events:
                await anext(events)
        errors.append(caught.value)

    begin = clock.monotonic()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hung)
        tasks.start_soon(streaming)
        await anyio.sleep(5)
        transport.disconnect()
    assert clock.monotonic() - begin == 5 * SECOND
    assert [(error.code, error.message) for error in errors] == [
        (Code.UNAVAILABLE, "error reading from server: EOF")
    ] * 2
    assert not transport.connected
    refused = await ends(transport)
    assert refused.code is Code.UNAVAILABLE
    assert "connection refused" in refused.message
    assert clock.monotonic() > begin + 5 * SECOND  # even a refusal takes time
    with pytest.raises(CriError, match="connection refused"):
        async with transport.stream(EVENTS, b""):
            pass
    transport.reconnect()
    await transport.unary(VERSION, b"", timeout_ns=None)


@on_both
async def test_closing_ends_calls_with_cancelled(clock: Clock) -> None:
    transport = InMemoryTransport(runtime_on(clock, "Version: hang"))
    errors: list[CriError] = []

    async def hung() -> None:
        errors.append(await ends(transport))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hung)
        await anyio.sleep(1)
        await transport.aclose()
    errors.append(await ends(transport))
    assert [error.code for error in errors] == [Code.CANCELLED] * 2


async def run_pods(runtime: FakeRuntime, count: int) -> None:
    for number in range(count):
        config = sandbox_config(f"pod-{number}")
        request = pb.RunPodSandboxRequest(config=config).SerializeToString()
        await runtime.unary(METHODS["RunPodSandbox"], request)


@on_both
async def test_events_arrive_in_order_each_after_its_delay(clock: Clock) -> None:
    runtime = runtime_on(clock)
    delays: list[int] = []
    names: list[str] = []
    async with InMemoryTransport(runtime).stream(EVENTS, b"") as events:
        await anyio.sleep(1)
        await run_pods(runtime, 50)
        for _ in range(100):
            event = pb.ContainerEventResponse.FromString(await anext(events))
            delays.append(clock.monotonic() - SECOND)
            names.append(event.pod_sandbox_status.metadata.name)
    assert names == [f"pod-{number // 2}" for number in range(100)]
    assert all(400 * MICROSECOND < delay < 10 * MILLISECOND for delay in delays)  # a burst is not served one by one


@on_both
async def test_a_wait_for_an_event_that_is_given_up_loses_none(clock: Clock) -> None:
    runtime = runtime_on(clock)
    got: list[bytes] = []
    async with InMemoryTransport(runtime).stream(EVENTS, b"") as events:
        await anyio.sleep(1)
        await run_pods(runtime, 20)
        for _ in range(2000):
            with anyio.move_on_after(0.0001):
                got.append(await anext(events))
    assert len(got) == 40


@on_both
async def test_a_stream_opens_before_the_runtime_answers(clock: Clock) -> None:
    transport = InMemoryTransport(runtime_on(clock, profile="containerd-1.6"))
    begin = clock.monotonic()
    async with transport.stream(EVENTS, b"") as events:
        assert clock.monotonic() - begin < MILLISECOND
        with pytest.raises(CriError) as caught:
            await anext(events)
        assert caught.value.code is Code.UNIMPLEMENTED
        with pytest.raises(StopAsyncIteration):
            await anext(events)


@on_both
async def test_a_stream_that_ends_at_once(clock: Clock) -> None:
    async with InMemoryTransport(runtime_on(clock, profile="cri-o-noevents")).stream(EVENTS, b"") as events:
        assert [event async for event in events] == []


@on_both
async def test_streamed_lists_and_their_deadline(clock: Clock) -> None:
    runtime = runtime_on(clock, "StreamContainers: 1*off->1*hang(10s)->1*oversized->off")
    Workload(runtime, pods=3, containers=2).populate()
    transport = InMemoryTransport(runtime)
    method = METHODS["StreamContainers"]
    async with transport.stream(method, b"", timeout_ns=SECOND) as parts:
        (only,) = [part async for part in parts]
    assert len(pb.StreamContainersResponse.FromString(only).containers) == 6
    for wanted in (Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED):
        async with transport.stream(method, b"", timeout_ns=SECOND) as parts:
            with pytest.raises(CriError) as caught:
                await anext(parts)
            assert caught.value.code is wanted


@on_both
async def test_leaving_a_stream_takes_the_subscription_away(clock: Clock) -> None:
    runtime = runtime_on(clock)

    async def fail_within() -> None:
        async with InMemoryTransport(runtime).stream(EVENTS, b""):
            await anyio.sleep(1)
            assert runtime.events.subscribers == 1
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail_within()
    assert runtime.events.subscribers == 0


@on_both
async def test_a_consumer_that_does_not_read_holds_up_nobody(clock: Clock) -> None:
    runtime = runtime_on(clock)
    transport = InMemoryTransport(runtime)
    async with transport.stream(EVENTS, b"") as events:
        await anyio.sleep(1)
        await run_pods(runtime, 1200)
        await anyio.sleep(1)
        await transport.unary(VERSION, b"", timeout_ns=SECOND)
        assert [1 for _ in range(2400) if await anext(events)] == [1] * 2400


def test_the_same_seed_takes_the_same_time() -> None:
    async def trace(seed: int) -> list[int]:
        transport = InMemoryTransport(make_runtime(), seed=seed)
        times = []
        for _ in range(20):
            await transport.unary(LIST, b"", timeout_ns=None)
            times.append(virtual_clock().monotonic())
        return times

    assert run_virtual(trace, 1) == run_virtual(trace, 1) != run_virtual(trace, 2)
