"""What faults do to answers and to the time that calls take, in virtual time."""

from __future__ import annotations

from statistics import fmean, stdev

import pytest
from google.protobuf.message import DecodeError

from cri.clock import MILLISECOND
from cri.methods import METHODS
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb
from fake_cri.faults import FAULTS, parse_fault
from fake_cri.workload import Workload

from .support import Client, in_virtual_time, make_client


def faulty(*faults: str, pods: int = 0) -> Client:
    client = make_client(faults=[parse_fault(text) for text in faults])
    Workload(client.runtime, pods=pods, containers=2).populate()
    return client


@in_virtual_time
async def test_an_error_with_a_text_of_its_own() -> None:
    client = faulty('Version: error(unavailable,"ttrpc: closed")')
    with pytest.raises(CriError) as caught:
        await client.call("Version")
    assert str(caught.value) == "rpc error: code = Unavailable desc = ttrpc: closed"


@in_virtual_time
async def test_not_found_though_it_is_there() -> None:
    client = faulty("ContainerStatus: not_found", "PodSandboxStatus: not_found")
    sandbox = await client.run()
    container = await client.start(sandbox)
    with pytest.raises(CriError, match=f'NotFound desc = an error occurred when try to find container "{container}"'):
        await client.status(container)
    with pytest.raises(CriError, match=f'NotFound desc = an error occurred when try to find sandbox "{sandbox}"'):
        await client.sandbox_status(sandbox)


@in_virtual_time
async def test_an_unset_status() -> None:
    client = faulty("ContainerStatus: unset", "PodSandboxStatus: unset", "Status: unset", "ImageStatus: unset")
    sandbox = await client.run()
    container = await client.start(sandbox)
    answers = [
        await client.call("ContainerStatus", container_id=container, verbose=True),
        await client.call("PodSandboxStatus", pod_sandbox_id=sandbox),
        await client.call("Status"),
    ]
    assert not any(answer.HasField("status") for answer in answers)
    assert answers[0].info
    assert not (await client.call("ImageStatus", image=pb.ImageSpec(image="shop.example/app:v1"))).HasField("image")


@pytest.mark.parametrize("rpc", ["Version", "ListContainers", "ListPodSandbox", "Status", "UpdateRuntimeConfig"])
@in_virtual_time
async def test_a_truncated_answer_never_parses(rpc: str) -> None:
    client, method = faulty(f"{rpc}: truncated", pods=3), METHODS[rpc]
    answer = await client.runtime.unary(method, b"")
    with pytest.raises(DecodeError):
        method.response.FromString(answer)


@in_virtual_time
async def test_a_truncated_stream_breaks_each_message() -> None:
    client, method = faulty("StreamContainers: truncated", pods=3), METHODS["StreamContainers"]
    messages = [message async for message in client.runtime.stream(method, b"")]
    with pytest.raises(DecodeError):
        method.response.FromString(messages[0])


@in_virtual_time
async def test_a_list_cut_short() -> None:
    rpcs = ("ListContainers", "StreamContainers", "ListPodSandbox", "StreamPodSandboxes")
    client = faulty(*(f"{rpc}: 1*cut(3)->1*cut(0)->1*cut(99)" for rpc in rpcs), pods=4)
    for kept, sandboxes in ((3, 3), (0, 0), (8, 4)):
        assert len((await client.call("ListContainers")).containers) == kept
        assert len((await client.call("ListPodSandbox")).items) == sandboxes
        assert sum(len(part.containers) for part in await client.stream("StreamContainers")) == kept
        assert sum(len(part.pod_sandboxes) for part in await client.stream("StreamPodSandboxes")) == sandboxes


def fits(name: str, rpc: str) -> bool:
    given = {
        **dict.fromkeys(("delay", "reorder", "burst", "created_at", "restart", "clock_step"), ("1s",)),
        "not_ready": ("runtime",),
        "error": ("aborted",),
        "latency": ("1s",),
        "cut": ("1",),
        "hold": ("a",),
        "lock": ("a",),
    }
    try:
        FAULTS[name].parse(given.get(name, ())).check(METHODS[rpc])
    except ValueError as error:
        assert any(words in str(error) for words in ("no meaning for", "write it for"))  # noqa: PT017 - or another's
        return False
    return True


def test_faults_fit_every_rpc_or_refuse_it() -> None:
    fitting = {name: {rpc for rpc in METHODS if fits(name, rpc)} for name in FAULTS}
    assert fitting["unset"] == {"ContainerStatus", "PodSandboxStatus", "Status", "ImageStatus"}
    assert {"ListContainers", "StreamContainers", "ListImages", "StreamPodSandboxes"} < fitting["cut"]
    assert not {"ContainerStatus", "GetContainerEvents"} & fitting["cut"]
    assert {"ContainerStatus", "StopPodSandbox", "ExecSync"} < fitting["not_found"]
    assert fitting["end"] == {rpc for rpc, method in METHODS.items() if method.streams}
    assert not fitting["drop"] | fitting["crash"]
    assert fitting["hang"] == set(METHODS)


async def delays(client: Client, calls: int) -> list[float]:
    """In milliseconds."""
    taken = []
    for _ in range(calls):
        begin = client.runtime.clock.monotonic()
        assert await client.code("Version") is Code.OK
        taken.append((client.runtime.clock.monotonic() - begin) / MILLISECOND)
    return taken


@in_virtual_time
async def test_uniform_latency() -> None:
    taken = await delays(faulty("Version: latency(uniform(10ms,50ms))"), 1000)
    assert min(taken) >= 10
    assert max(taken) <= 50
    assert fmean(taken) == pytest.approx(30, rel=0.1)


@in_virtual_time
async def test_normal_latency_is_never_negative() -> None:
    taken = await delays(faulty("Version: latency(normal(100ms,20ms))"), 1000)
    assert fmean(taken) == pytest.approx(100, rel=0.05)
    assert stdev(taken) == pytest.approx(20, rel=0.2)
    assert min(await delays(faulty("Version: latency(normal(1ms,20ms))"), 100)) == 0


@in_virtual_time
async def test_exponential_latency() -> None:
    assert fmean(await delays(faulty("Version: latency(exponential(50ms))"), 2000)) == pytest.approx(50, rel=0.1)


@in_virtual_time
async def test_growing_latency_begins_anew_in_each_term() -> None:
    client = faulty("Version: 3*latency(growing(0s,10ms))->latency(growing(5ms,1ms))")
    assert await delays(client, 6) == pytest.approx([0, 10, 20, 5, 6, 7])
