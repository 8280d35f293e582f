"""The gRPC server: bytes in and out, codes, limits, cancellation, its end, and its socket."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest

from cri.clock import Clock
from cri.methods import METHODS
from cri.transport import MAX_MESSAGE_BYTES
from cri.v1 import api_pb2 as pb
from fake_cri.faults import FaultPlan, Term, parse_fault
from fake_cri.faults.base import Call, Fault
from fake_cri.listening import Address, ListenError, parse_address
from fake_cri.runtime import FakeRuntime
from fake_cri.server import serving
from fake_cri.workload import Workload

from .support import profile_named, sandbox_config

pytestmark = pytest.mark.anyio

#: What no test waits longer for, in s: only a broken one gets there.
PATIENCE = 20


@pytest.fixture
def anyio_backend(grpc_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return grpc_backend


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A socket's path, short enough for any machine's temporary folder."""
    return tmp_path_factory.mktemp("s") / "s"


def make(*faults: str) -> FakeRuntime:
    return FakeRuntime(
        profile_named("containerd-2.4"), clock=Clock.real(), faults=[parse_fault(text) for text in faults]
    )


@asynccontextmanager
async def channel(address: Address, limit: int = MAX_MESSAGE_BYTES) -> AsyncIterator[grpc.aio.Channel]:
    options = (("grpc.max_receive_message_length", limit),)
    async with grpc.aio.insecure_channel(address.target, options=options) as opened:
        yield opened


def unary(opened: grpc.aio.Channel, path: str) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
    return opened.unary_unary(path)


def events_of(opened: grpc.aio.Channel) -> grpc.aio.UnaryStreamCall[bytes, bytes]:
    stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = opened.unary_stream(METHODS["GetContainerEvents"].path)
    return stream(b"")


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in gRPC
        await anyio.sleep(0.01)


async def call(opened: grpc.aio.Channel, rpc: str, request: bytes = b"", timeout: float = PATIENCE) -> bytes:  # noqa: ASYNC109
    return await unary(opened, METHODS[rpc].path)(request, timeout=timeout)


async def failure(opened: grpc.aio.Channel, rpc: str, request: bytes = b"", timeout: float = PATIENCE) -> str:  # noqa: ASYNC109
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(opened, rpc, request, timeout)
    return f"{caught.value.code().name}: {caught.value.details()}"


async def test_answers_and_codes(path: Path) -> None:
    runtime = make()
    Workload(runtime, pods=3, containers=2).populate()
    async with serving(runtime, Address(path)) as address, channel(address) as opened:
        version = pb.VersionResponse.FromString(await call(opened, "Version"))
        assert version.runtime_name == "containerd"
        assert len(pb.ListContainersResponse.FromString(await call(opened, "ListContainers")).containers) == 6
        request = pb.RunPodSandboxRequest(config=sandbox_config()).SerializeToString()
        assert (
            len(pb.RunPodSandboxResponse.FromString(await call(opened, "RunPodSandbox", request)).pod_sandbox_id) == 64
        )
        assert (await failure(opened, "RunPodSandbox", request)).startswith("FAILED_PRECONDITION: failed to reserve")
        assert (await failure(opened, "ListContainers", b"\xff")).startswith("INTERNAL: grpc: error unmarshalling")
        assert await failure(opened, "ExecSync") == (
            "UNIMPLEMENTED: unknown method ExecSync for service runtime.v1.RuntimeService"
        )


async def test_methods_and_services_that_nobody_knows(path: Path) -> None:
    async with serving(make(), Address(path)) as address, channel(address) as opened:
        for wanted, text in (
            ("/runtime.v1.ImageService/Nope", "unknown method Nope for service runtime.v1.ImageService"),
            ("/runtime.v1alpha2.RuntimeService/Version", "unknown service runtime.v1alpha2.RuntimeService"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await unary(opened, wanted)(b"", timeout=PATIENCE)
            assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, text)


async def test_faults_on_the_wire(path: Path) -> None:
    runtime = make("ListContainers: 2*oversized->off", "Version: 1*garbage", "Status: error(unavailable)")
    async with serving(runtime, Address(path)) as address:
        async with channel(address) as opened:
            assert "RESOURCE_EXHAUSTED" in await failure(opened, "ListContainers")
            assert "17825792 vs. 16777216" in await failure(opened, "ListContainers")
            assert await call(opened, "ListContainers") == b""
            assert (await call(opened, "Version")).startswith(b"\xff")
            assert (await failure(opened, "Status")).startswith("UNAVAILABLE: injected fault")
        runtime.arm(parse_fault("ListContainers: oversized"))
        async with channel(address, limit=-1) as opened:
            assert len(await call(opened, "ListContainers")) == 17 * 1024 * 1024


async def test_a_request_beyond_16_mib_is_refused(path: Path) -> None:
    async with serving(make(), Address(path)) as address, channel(address) as opened:
        assert "RESOURCE_EXHAUSTED" in await failure(opened, "Version", bytes(MAX_MESSAGE_BYTES + 1))


class Held(Fault):
    """Holds calls for ever, and tells when they came and went."""

    name = "held"

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.freed = anyio.Event()

    async def before(self, call: Call) -> None:
        self.begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.freed.set()


async def test_a_hung_call_is_freed_by_its_deadline_or_its_client(path: Path) -> None:
    runtime = make()
    for rpc in ("Version", "Status", "GetContainerEvents"):
        runtime.arm(FaultPlan(rpc, (Term(Held(), None),), "held"))
    held = {rpc: plans[0].plan.terms[0].fault for rpc, plans in runtime._faults.items()}
    async with serving(runtime, Address(path)) as address, channel(address) as opened:
        with anyio.fail_after(PATIENCE):
            assert (await failure(opened, "Version", timeout=0.1)).startswith("DEADLINE_EXCEEDED")
            under_way = unary(opened, METHODS["Status"].path)(b"")
            stream = events_of(opened)
            for rpc in ("Status", "GetContainerEvents"):
                await held[rpc].begun.wait()  # type: ignore[attr-defined]
            under_way.cancel()
            stream.cancel()
            for fault in held.values():
                await fault.freed.wait()  # type: ignore[attr-defined]


async def test_events_reach_every_stream(path: Path) -> None:
    runtime = make()
    async with serving(runtime, Address(path)) as address, channel(address) as opened:
        streams = [events_of(opened) for _ in range(2)]
        with anyio.fail_after(PATIENCE):
            await until(lambda: runtime.events.subscribers == 2)
            await call(opened, "RunPodSandbox", pb.RunPodSandboxRequest(config=sandbox_config()).SerializeToString())
            for stream in streams:
                message = await stream.read()
                assert isinstance(message, bytes)
                assert pb.ContainerEventResponse.FromString(message).pod_sandbox_status.metadata.name == "pod"
            for stream in streams:
                stream.cancel()
            await until(lambda: runtime.events.subscribers == 0)


async def test_its_end_waits_for_nobody(path: Path) -> None:
    runtime = make("Version: hang")
    codes: list[grpc.StatusCode] = []
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks, channel(Address(path)) as opened:

            async def hung() -> None:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(opened, "Version")
                codes.append(caught.value.code())

            async def streaming() -> None:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    async for _ in events_of(opened):
                        pass
                codes.append(caught.value.code())

            async with serving(runtime, Address(path)):
                tasks.start_soon(hung)
                tasks.start_soon(streaming)
                await until(lambda: runtime.events.subscribers == 1 and "Version" in runtime.counts)
            await until(lambda: len(codes) == 2)
    assert codes[0] is grpc.StatusCode.UNAVAILABLE  # the stream's, which is told first


async def test_a_bug_of_ours_reaches_no_client_as_a_traceback(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> bytes:
        raise LookupError("oops")

    monkeypatch.setattr(FakeRuntime, "unary", broken)
    async with serving(make(), Address(path)) as address, channel(address) as opened:
        assert await failure(opened, "Version") == "INTERNAL: Version: LookupError: oops"


def mode(path: Path) -> int:
    return path.stat().st_mode


def there(path: Path) -> bool:
    return path.exists()


async def refusal(path: Path) -> str:
    """Why it cannot listen there."""

    async def listen() -> None:
        async with serving(make(), Address(path)):
            pass

    with pytest.raises(ListenError) as caught:
        await listen()
    return str(caught.value)


async def test_the_socket_is_its_owners_and_goes_at_the_end(path: Path) -> None:
    async with serving(make(), Address(path)):
        assert stat.S_IMODE(mode(path)) == 0o600
        assert stat.S_ISSOCK(mode(path))
    assert os.listdir(path.parent) == []


async def test_a_stale_socket_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert there(path)
    async with serving(make(), Address(path)) as address, channel(address) as opened:
        await call(opened, "Version")


async def test_a_live_socket_is_left_alone(path: Path) -> None:
    async with serving(make(), Address(path)) as address, channel(address) as opened:
        assert await refusal(path) == f"something listens on {path} already: stop it, or choose another path"
        await call(opened, "Version")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(1)
        assert "already" in await refusal(path)
        assert there(path)


@pytest.fixture
def precious(path: Path) -> Path:
    """A file that is no socket."""
    path.write_text("precious")
    return path


async def test_what_is_no_socket_is_left_alone(precious: Path) -> None:
    assert await refusal(precious) == f"{precious} exists and is no socket: remove it, or choose another path"
    assert stat.S_ISREG(mode(precious))
    link = precious.parent / "link"
    os.symlink(precious, link)
    assert "is no socket" in await refusal(link)
    assert "is no socket" in await refusal(precious.parent)


async def test_paths_that_cannot_be(precious: Path) -> None:
    assert "cannot look at" in await refusal(precious / "below")
    assert "does not exist: create it first" in await refusal(precious.parent / "none" / "s")
    assert "bytes too long: choose a shorter folder or name" in await refusal(precious.parent / ("x" * 120))


async def test_anothers_socket_of_the_same_path_is_not_removed(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as newcomer:
        async with serving(make(), Address(path)):
            os.unlink(path)
            newcomer.bind(str(path))
        assert there(path)


async def test_loopback_tcp() -> None:
    async with serving(make(), parse_address("tcp://127.0.0.1:0")) as address, channel(address) as opened:
        assert address.port > 0
        await call(opened, "Version")
        taken = serving(make(), address)
        with pytest.raises(ListenError, match="the port is taken"):
            await taken.__aenter__()


async def test_many_clients_at_once(path: Path) -> None:
    runtime = make()
    Workload(runtime, pods=20, containers=2).populate()
    async with serving(runtime, Address(path)) as address:

        async def client() -> None:
            async with channel(address) as opened:
                for _ in range(5):
                    assert len(await call(opened, "ListContainers")) > 30_000

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                for _ in range(30):
                    tasks.start_soon(client)
    assert runtime.counts["ListContainers"].calls == 150


@pytest.mark.parametrize(
    ("text", "target", "shown"),
    [
        ("unix:///run/x.sock", "unix:/run/x.sock", "unix:///run/x.sock"),
        ("tcp://127.0.0.1:80", "127.0.0.1:80", "tcp://127.0.0.1:80"),
        ("tcp://localhost:0", "127.0.0.1:0", "tcp://127.0.0.1:0"),
        ("tcp://[::1]:5", "[::1]:5", "tcp://[::1]:5"),
    ],
)
def test_addresses(text: str, target: str, shown: str) -> None:
    address = parse_address(text)
    assert (address.target, str(address)) == (target, shown)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no address"),
        ("/run/x.sock", "is no address"),
        ("unix://run/x.sock", "is no address"),
        ("unix:///", "is no address"),
        ("tcp://127.0.0.1", "is no address"),
        ("tcp://127.0.0.1:99999", "is no address"),
        ("tcp://0.0.0.0:80", "is not loopback"),
        ("tcp://example.org:80", "is not loopback"),
        ("http://127.0.0.1:80", "is no address"),
    ],
)
def test_what_is_no_address(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_address(text)
