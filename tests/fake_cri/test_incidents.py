"""What happens to the runtime as a whole: restarts, crashes, a missing socket, a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from cri.clock import SECOND
from cri.methods import METHODS
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb
from cri.virtual_time import virtual_clock
from fake_cri.faults import parse_fault
from fake_cri.in_memory import InMemoryTransport
from fake_cri.journal import Change
from fake_cri.workload import Workload

from .support import Client, in_virtual_time, make_client, settle

VERSION, EVENTS = METHODS["Version"], METHODS["GetContainerEvents"]


class Node:
    """A runtime to which incidents happen, and one connection to it."""

    def __init__(self, *faults: str) -> None:
        self.client: Client = make_client(faults=[parse_fault(text) for text in faults])
        self.runtime = self.client.runtime
        self.transport = InMemoryTransport(self.runtime)

    async def at(self, second: float) -> None:
        await anyio.sleep(second - self.runtime.clock.monotonic() / SECOND)

    async def answer(self) -> str:
        try:
            await self.transport.unary(VERSION, b"", timeout_ns=120 * SECOND)
        except CriError as error:
            return f"{error.code.name}: {error.message.rpartition(': ')[2]}"
        return "OK"


@asynccontextmanager
async def running(*faults: str) -> AsyncIterator[Node]:
    node = Node(*faults)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.runtime.outage.run)
        yield node
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("incident", "refusal"),
    [
        ("Runtime @10s: restart(5s)", 'UNAVAILABLE: connection refused"'),
        ("Runtime @10s: restart(5s,lost)", 'UNAVAILABLE: connection refused"'),
        ("Runtime @10s..15s: crash", 'UNAVAILABLE: connection refused"'),
        ("Runtime @10s..15s: restart(1h)", 'UNAVAILABLE: connection refused"'),
        ("Runtime @10s..15s: socket_gone", 'UNAVAILABLE: no such file or directory"'),
    ],
)
@in_virtual_time
async def test_down_for_its_time(incident: str, refusal: str) -> None:
    async with running(incident) as node:
        answers = []
        for second in (9.9, 10.1, 14.9, 15.1):
            await node.at(second)
            answers.append(await node.answer())
        assert answers == ["OK", refusal, refusal, "OK"]


@in_virtual_time
async def test_calls_and_streams_under_way_break() -> None:
    async with running("Runtime @10s: restart(5s)", "Version: 1*hang(60s)") as node:
        ends: list[str] = []

        async def call() -> None:
            ends.append(f"{await node.answer()} at {node.runtime.clock.monotonic() // SECOND}")

        async def stream() -> None:
            with pytest.raises(CriError) as caught:
                async with node.transport.stream(EVENTS, b"") as events:
                    await anext(events)
            ends.append(caught.value.code.name)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            tasks.start_soon(stream)
        assert sorted(ends) == ["UNAVAILABLE", "UNAVAILABLE: EOF at 10"]
        await node.at(16)
        async with node.transport.stream(EVENTS, b"") as events:
            await anyio.sleep(1)
            await node.client.run("after")
            event = pb.ContainerEventResponse.FromString(await anext(events))
            assert event.pod_sandbox_status.metadata.name == "after"


@pytest.mark.parametrize(
    ("incident", "code", "reason"),
    [
        ("restart(5s)", 3, "Error"),
        ("restart(5s,lost)", 255, "Unknown"),
        ("crash", 255, "Unknown"),
        ("socket_gone", 3, "Error"),
    ],
)
@in_virtual_time
async def test_what_ends_while_it_is_down(incident: str, code: int, reason: str) -> None:
    async with running(f"Runtime @10s..15s: {incident}") as node:
        sandbox = await node.client.run()
        before, meanwhile, alive = [await node.client.start(sandbox, name) for name in ("a", "b", "c")]
        for second, full_id in ((9, before), (12, meanwhile)):
            await node.at(second)
            container = node.runtime.state.containers.get(full_id)
            assert container is not None
            node.runtime.state.end_container(container, 3)
        await node.at(16)
        seen = [await node.client.status(full_id) for full_id in (before, meanwhile, alive)]
        assert [status.exit_code for status in seen] == [3, code, 0]
        assert [status.reason for status in seen] == ["Error", reason, ""]
        assert seen[2].state == pb.CONTAINER_RUNNING


@in_virtual_time
async def test_a_crash_lasts_until_it_is_removed() -> None:
    async with running() as node:
        armed = node.runtime.arm(parse_fault("Runtime: crash"))
        await anyio.sleep(3600)
        assert await node.answer() != "OK"
        late = InMemoryTransport(node.runtime)
        assert not late.connected
        node.runtime.disarm(armed)
        await settle()
        assert await node.answer() == "OK"
        assert late.connected


@in_virtual_time
async def test_an_incident_removed_before_its_time_never_happens() -> None:
    async with running() as node:
        armed = node.runtime.arm(parse_fault("Runtime @10s: crash"))
        await anyio.sleep(5)
        node.runtime.disarm(armed)
        await anyio.sleep(10)
        assert await node.answer() == "OK"


@in_virtual_time
async def test_of_two_that_overlap_the_last_to_end_brings_it_up() -> None:
    async with running("Runtime @10s: restart(10s)", "Runtime @15s: restart(10s)") as node:
        for second, up in ((21, False), (24.9, False), (25.1, True)):
            await node.at(second)
            assert (await node.answer() == "OK") is up


@in_virtual_time
async def test_a_clock_that_jumps_and_jumps_back() -> None:
    journal: list[Change] = []
    client = make_client(faults=[parse_fault("Runtime @10s..20s: clock_step(-1h)")], journal=journal.append)
    truth = virtual_clock()
    offsets, events = [], []
    async with anyio.create_task_group() as tasks, client.events() as seen:
        tasks.start_soon(client.runtime.outage.run)
        for number in range(3):
            await anyio.sleep(9)
            status = await client.sandbox_status(await client.run(f"pod-{number}"))
            offsets.append((status.created_at - truth.now()) // SECOND)
            await settle()
            events.append((seen[-1].created_at - truth.now()) // SECOND)
            assert journal[-1].time_ns == truth.now()
            await anyio.sleep(0.5)
        tasks.cancel_scope.cancel()
    assert offsets == [0, -3600, 0]
    assert events == [0, -3600, 0]


@in_virtual_time
async def test_the_workload_waits_for_the_runtime_but_containers_end() -> None:
    journal: list[Change] = []
    client = make_client(faults=[parse_fault("Runtime @10s: restart(30s)")], journal=journal.append)
    workload = Workload(client.runtime, pods=20, containers=2, churn=5, seed=3)
    begin = client.runtime.clock.now()
    workload.populate()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.runtime.outage.run)
        tasks.start_soon(workload.run)
        await anyio.sleep(60)
        tasks.cancel_scope.cancel()
    down = [change for change in journal if 10 * SECOND < change.time_ns - begin < 40 * SECOND]
    assert {change.new for change in down} == {"CONTAINER_EXITED"}
    assert {"CONTAINER_RUNNING"} < {change.new for change in journal if change.time_ns - begin >= 40 * SECOND}


@in_virtual_time
async def test_status_says_not_ready_in_its_span() -> None:
    client = make_client(faults=[parse_fault(f"Status @10s..20s: not_ready({it})") for it in ("runtime", "network")])
    said = []
    for _ in range(3):
        conditions = (await client.call("Status")).status.conditions
        said.append([(condition.status, bool(condition.reason)) for condition in conditions])
        await anyio.sleep(10)
    ready, not_ready = [(True, False)] * 2, [(False, True)] * 2
    assert said == [ready, not_ready, ready]
    assert await client.code("Status") is Code.OK
