"""One interface, two transports: what a call comes to must not depend on whether a network is between.

The same requests go to two equal runtimes, one reached over gRPC and one in memory; answers must be equal byte by byte,
failures word by word. So what is shown in virtual time holds in real time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from google.protobuf.message import Message

from cri.clock import MILLISECOND, SECOND, VIRTUAL_EPOCH, Clock
from cri.methods import METHODS, Method
from cri.transport import Code, CriError, Transport
from cri.v1 import api_pb2 as pb
from fake_cri.faults import parse_fault
from fake_cri.in_memory import InMemoryTransport
from fake_cri.listening import parse_address
from fake_cri.profiles import built_in_profiles, load_profile
from fake_cri.runtime import FakeRuntime
from fake_cri.server import serving
from fake_cri.workload import Workload
from pleg.runtime.grpc_transport import GrpcTransport

pytestmark = pytest.mark.anyio

EVENTS = METHODS["GetContainerEvents"]
#: In ns; what no call of these waits longer for.
PATIENCE = 20 * SECOND

#: What a call came to: its answers in order, then the code and the words it ended with, if not well.
Outcome = tuple[list[bytes], tuple[str, str] | None]


@pytest.fixture
def anyio_backend(grpc_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return grpc_backend


def make_runtime(profile: str, *faults: str) -> FakeRuntime:
    """Three pods of two containers; time stands still, so that two of them are equal."""
    runtime = FakeRuntime(
        load_profile(profile),
        clock=Clock(lambda: 0, wall_base=VIRTUAL_EPOCH),
        faults=[parse_fault(fault) for fault in faults],
    )
    Workload(runtime, pods=3, containers=2, churn=0, seed=1).populate()
    return runtime


@asynccontextmanager
async def both(folder: Path, profile: str = "containerd-2.4", *faults: str) -> AsyncIterator[list[Transport]]:
    socket = folder / "cri.sock"
    in_memory, over_grpc = InMemoryTransport(make_runtime(profile, *faults)), GrpcTransport(f"unix://{socket}")
    async with serving(make_runtime(profile, *faults), parse_address(f"unix://{socket}")):
        try:
            yield [in_memory, over_grpc]
        finally:
            await over_grpc.aclose()
            await in_memory.aclose()


async def outcome(transport: Transport, rpc: str, request: Message, timeout_ns: int = PATIENCE) -> Outcome:
    method, answers = METHODS[rpc], list[bytes]()
    try:
        if method.streams:
            async with transport.stream(method, request.SerializeToString(), timeout_ns=timeout_ns) as messages:
                async for message in messages:
                    answers.append(message)
        else:
            answers.append(await transport.unary(method, request.SerializeToString(), timeout_ns=timeout_ns))
    except CriError as error:
        return answers, (error.code.name, error.message)
    return answers, None


async def same(folder: Path, rpc: str, request: Message, *faults: str, profile: str = "containerd-2.4") -> Outcome:
    async with both(folder, profile, *faults) as transports:
        first, second = [await outcome(transport, rpc, request) for transport in transports]
    assert first == second
    return first


@pytest.mark.parametrize("method", METHODS.values(), ids=str)
async def test_every_rpc_with_an_empty_request(tmp_path: Path, method: Method) -> None:
    """Most are refused, some are not built; GetContainerEvents goes on until its deadline."""
    async with both(tmp_path) as transports:
        first, second = [
            await outcome(transport, method.name, method.request(), 300 * MILLISECOND) for transport in transports
        ]
    assert first == second


@pytest.mark.parametrize("profile", built_in_profiles())
async def test_what_runtimes_differ_in(tmp_path: Path, profile: str) -> None:
    requests: list[tuple[str, Message]] = [
        ("Version", pb.VersionRequest()),
        ("ListPodSandbox", pb.ListPodSandboxRequest()),
        ("ListContainers", pb.ListContainersRequest()),
        ("StreamContainers", pb.StreamContainersRequest()),
        ("PodSandboxStatus", pb.PodSandboxStatusRequest(pod_sandbox_id="nobody")),
        ("ContainerStatus", pb.ContainerStatusRequest(container_id="nobody")),
        ("StopPodSandbox", pb.StopPodSandboxRequest(pod_sandbox_id="nobody")),
        ("StopContainer", pb.StopContainerRequest(container_id="nobody")),
    ]
    async with both(tmp_path, profile) as transports:
        first, second = [
            [await outcome(transport, rpc, request) for rpc, request in requests] for transport in transports
        ]
    assert first == second


@pytest.mark.parametrize("profile", ["cri-o-noevents", "containerd-1.6"])
async def test_a_runtime_without_an_event_stream(tmp_path: Path, profile: str) -> None:
    await same(tmp_path, "GetContainerEvents", pb.GetEventsRequest(), profile=profile)


@pytest.mark.parametrize("rpc", ["ListContainers", "StreamContainers", "GetContainerEvents"])
@pytest.mark.parametrize("action", ["error(unavailable)", "error(internal)", "oversized"])
async def test_faults_arrive_alike(tmp_path: Path, rpc: str, action: str) -> None:
    _, end = await same(tmp_path, rpc, METHODS[rpc].request(), f"{rpc}: {action}")
    assert end is not None


async def test_garbage_is_the_same_garbage(tmp_path: Path) -> None:
    answers, end = await same(tmp_path, "ListContainers", pb.ListContainersRequest(), "ListContainers: garbage")
    assert (len(answers), end) == (1, None)


@pytest.mark.parametrize("rpc", ["ListContainers", "StreamContainers"])
async def test_a_missed_deadline(tmp_path: Path, rpc: str) -> None:
    async with both(tmp_path, "containerd-2.4", f"{rpc}: hang(1h)") as transports:
        ends = [await outcome(transport, rpc, METHODS[rpc].request(), 100 * MILLISECOND) for transport in transports]
    assert ends == [([], (Code.DEADLINE_EXCEEDED.name, "context deadline exceeded"))] * 2


async def test_events_of_one_change(tmp_path: Path) -> None:
    async def seen(runtime: FakeRuntime, transport: Transport) -> list[bytes]:
        listed = await transport.unary(METHODS["ListPodSandbox"], b"", timeout_ns=PATIENCE)
        sandbox = pb.ListPodSandboxResponse.FromString(listed).items[0].id
        stop = pb.StopPodSandboxRequest(pod_sandbox_id=sandbox).SerializeToString()
        with anyio.fail_after(20):
            async with transport.stream(EVENTS, b"") as messages:
                # Entering does not wait for the server, and the fake tells nobody of its subscribers.
                while not runtime.events.subscribers:  # noqa: ASYNC110
                    await anyio.sleep(0.001)
                await transport.unary(METHODS["StopPodSandbox"], stop, timeout_ns=PATIENCE)
                return [await anext(messages) for _ in range(3)]

    socket = tmp_path / "cri.sock"
    near, far = make_runtime("containerd-2.4"), make_runtime("containerd-2.4")
    over_grpc = GrpcTransport(f"unix://{socket}")
    async with serving(far, parse_address(f"unix://{socket}")):
        first, second = await seen(near, InMemoryTransport(near)), await seen(far, over_grpc)
        await over_grpc.aclose()
    assert first == second
    assert len({pb.ContainerEventResponse.FromString(message).container_id for message in first}) == 3


@pytest.mark.parametrize("rpc", ["Version", "GetContainerEvents"])
async def test_closing_ends_what_is_under_way_and_refuses_the_rest(tmp_path: Path, rpc: str) -> None:
    async def end(transport: Transport) -> list[Outcome]:
        ends = []

        async def call() -> None:
            ends.append(await outcome(transport, rpc, METHODS[rpc].request()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await anyio.sleep(0.1)
            await transport.aclose()
        await call()
        return ends

    async with both(tmp_path, "containerd-2.4", f"{rpc}: hang(1h)") as transports:
        first, second = [await end(transport) for transport in transports]
    assert first == second == [([], (Code.CANCELLED.name, "grpc: the client connection is closing"))] * 2
