"""What faults do to calls, in virtual time."""

from __future__ import annotations

import anyio
import pytest
from google.protobuf.message import DecodeError

from cri.clock import MILLISECOND, SECOND
from cri.methods import METHODS
from cri.transport import MAX_MESSAGE_BYTES, Code, CriError
from cri.v1 import api_pb2 as pb
from fake_cri.faults import FaultPlan, Term, parse_fault
from fake_cri.faults.base import Call, Fault

from .support import Client, in_virtual_time, make_client, sandbox_config, settle

LIST = METHODS["ListContainers"]


def faulty(*faults: str) -> Client:
    return make_client(faults=[parse_fault(text) for text in faults])


async def codes(client: Client, calls: int, rpc: str = "Version") -> list[str]:
    return [(await client.code(rpc)).name for _ in range(calls)]


@in_virtual_time
async def test_counted_terms_run_left_to_right_and_then_all_is_well() -> None:
    client = faulty("Version: 2*off->1*error(unavailable)->2*error(internal)")
    assert await codes(client, 7) == ["OK", "OK", "UNAVAILABLE", "INTERNAL", "INTERNAL", "OK", "OK"]


@in_virtual_time
async def test_an_uncounted_last_term_lasts_for_ever() -> None:
    client = faulty("Version: 1*off->error(unknown)")
    assert await codes(client, 30) == ["OK"] + 29 * ["UNKNOWN"]


@in_virtual_time
async def test_only_the_named_rpc_is_struck() -> None:
    client = faulty("Version: error(aborted)")
    assert await codes(client, 2, "Status") == ["OK", "OK"]


@in_virtual_time
async def test_an_error_keeps_the_call_from_the_runtime() -> None:
    client = faulty("RunPodSandbox: error(unavailable)")
    with pytest.raises(CriError, match="RunPodSandbox answers UNAVAILABLE"):
        await client.run()
    assert len(client.runtime.state.sandboxes) == 0


async def answered_at(client: Client, starts: list[float], rpc: str = "ListContainers") -> list[float]:
    """In seconds, when calls that start at these seconds are answered."""
    begin = client.runtime.clock.monotonic()
    ends: dict[float, float] = {}

    async def call(start: float) -> None:
        await anyio.sleep(start)
        await client.call(rpc)
        ends[start] = round((client.runtime.clock.monotonic() - begin) / SECOND, 6)

    async with anyio.create_task_group() as tasks:
        for start in starts:
            tasks.start_soon(call, start)
    return [ends[start] for start in starts]


@in_virtual_time
async def test_a_hang_opens_a_window_at_its_first_call_and_holds_all_to_its_end() -> None:
    client = faulty("ListContainers: 2*off->hang(30s)->off")
    starts = [1.0, 2.0, 10.0, 11.0, 39.0, 40.5, 41.0]
    assert await answered_at(client, starts) == [1.0, 2.0, 40.0, 40.0, 40.0, 40.5, 41.0]


@in_virtual_time
async def test_a_counted_hang_holds_that_many_calls() -> None:
    client = faulty("ListContainers: 2*hang(10s)->off")
    assert await answered_at(client, [0.0, 1.0, 2.0]) == [10.0, 10.0, 2.0]


@in_virtual_time
async def test_an_uncounted_last_hang_opens_window_after_window() -> None:
    client = faulty("ListContainers: hang(10s)")
    assert await answered_at(client, [0.0, 5.0, 12.0, 30.0]) == [10.0, 10.0, 22.0, 40.0]


@in_virtual_time
async def test_a_hang_without_end_is_left_by_the_caller_alone() -> None:
    client = faulty("ListContainers: hang")
    with anyio.move_on_after(3600) as scope:
        await client.call("ListContainers")
    assert scope.cancelled_caught


@in_virtual_time
async def test_latency() -> None:
    client = faulty("ListContainers: 2*latency(250ms)->off")
    assert await answered_at(client, [0.0, 1.0, 2.0]) == [0.25, 1.25, 2.0]


@in_virtual_time
async def test_garbage_does_not_parse_and_the_call_took_place() -> None:
    client = faulty("ListContainers: 1*garbage", "RunPodSandbox: garbage", "ListPodSandbox: garbage")
    for rpc in ("RunPodSandbox", "ListPodSandbox", "ListContainers"):
        method = METHODS[rpc]
        request = pb.RunPodSandboxRequest(config=sandbox_config()).SerializeToString()
        answer = await client.runtime.unary(method, request if rpc == "RunPodSandbox" else b"")
        with pytest.raises(DecodeError):
            method.response.FromString(answer)
    assert len(client.runtime.state.sandboxes) == 1


@in_virtual_time
async def test_oversized_is_17_mib_and_valid() -> None:
    client = faulty("ListContainers: oversized")
    container = await client.start(await client.run())
    answer = await client.runtime.unary(LIST, b"")
    assert MAX_MESSAGE_BYTES < len(answer) == 17 * 1024 * 1024
    assert [entry.id for entry in pb.ListContainersResponse.FromString(answer).containers] == [container]


@in_virtual_time
async def test_streams_are_struck_when_they_open() -> None:
    client = faulty("StreamContainers: 1*error(unavailable)->1*garbage->1*oversized->1*latency(2s)->off")
    await client.start(await client.run())
    stream = METHODS["StreamContainers"]
    with pytest.raises(CriError, match="Unavailable"):
        await client.stream("StreamContainers")
    corrupt = [message async for message in client.runtime.stream(stream, b"")]
    with pytest.raises(DecodeError):
        stream.response.FromString(corrupt[0])
    large = [message async for message in client.runtime.stream(stream, b"")]
    assert [len(message) > MAX_MESSAGE_BYTES for message in large] == [True, False]
    begin = client.runtime.clock.monotonic()
    assert len(await client.stream("StreamContainers")) == 1
    assert client.runtime.clock.monotonic() - begin == 2 * SECOND
    assert len(await client.stream("StreamContainers")) == 1


@in_virtual_time
async def test_a_held_event_stream_hears_nothing_of_what_was_before_its_end() -> None:
    client = faulty("GetContainerEvents: hang(10s)->off")
    async with client.events() as seen:
        await client.run("early")
        await anyio.sleep(11)
        await client.run("late")
        await settle()
        assert {event.pod_sandbox_status.metadata.name for event in seen} == {"late"}


@in_virtual_time
async def test_a_garbled_event_comes_at_once() -> None:
    client = faulty("GetContainerEvents: garbage")
    with pytest.raises(DecodeError):
        pb.ContainerEventResponse.FromString(await anext(client.runtime.stream(METHODS["GetContainerEvents"], b"")))


@in_virtual_time
async def test_two_faults_of_one_rpc_both_act() -> None:
    client = faulty("ListContainers: latency(1s)", "ListContainers: 1*off->error(internal)")
    assert await answered_at(client, [0.0]) == [1.0]
    begin = client.runtime.clock.monotonic()
    assert await client.code("ListContainers") is Code.INTERNAL
    assert client.runtime.clock.monotonic() - begin == SECOND


@in_virtual_time
async def test_a_fault_comes_and_goes_while_the_runtime_runs() -> None:
    client = make_client()
    armed = client.runtime.arm(parse_fault("Version: error(internal)"))
    assert await codes(client, 2) == ["INTERNAL", "INTERNAL"]
    client.runtime.disarm(armed)
    assert await codes(client, 1) == ["OK"]
    assert armed.calls == 2


@in_virtual_time
async def test_one_plan_in_two_runtimes_counts_for_each() -> None:
    plan = parse_fault("Version: 1*error(internal)")
    first, second = make_client(faults=[plan]), make_client(faults=[plan])
    assert await codes(first, 2) == await codes(second, 2) == ["INTERNAL", "OK"]


class Picky(Fault):
    """A fault as the failure lab will write them: it looks at the request."""

    name = "picky"

    async def before(self, call: Call) -> None:
        request = pb.ContainerStatusRequest.FromString(call.request)
        if request.container_id.startswith("a"):
            raise CriError(Code.ABORTED, f"{call.clock.monotonic() // MILLISECOND} {call.rng.random() < 2}")


@in_virtual_time
async def test_a_fault_knows_the_request_the_clock_and_chance() -> None:
    client = make_client(faults=[FaultPlan("ContainerStatus", (Term(Picky(), None),), "picky")])
    assert await client.code("ContainerStatus", container_id="abc") is Code.ABORTED
    assert await client.code("ContainerStatus", container_id="bcd") is Code.NOT_FOUND


@in_virtual_time
async def test_calls_and_bytes_are_counted_with_their_errors() -> None:
    client = faulty("Version: 1*error(internal)")
    await codes(client, 3)
    await client.run()
    await client.stream("StreamPodSandboxes")
    counts = client.runtime.counts
    assert (counts["Version"].calls, counts["Version"].errors) == (3, 1)
    assert counts["RunPodSandbox"].bytes_in > 100
    assert counts["StreamPodSandboxes"].bytes_out == len(await client.runtime.unary(METHODS["ListPodSandbox"], b""))
