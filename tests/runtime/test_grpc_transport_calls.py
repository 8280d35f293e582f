"""One call over gRPC: endpoints, answers, error codes, deadlines and sizes."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.lowlevel
import grpc
import grpc.aio
import pytest

from cri.clock import MILLISECOND, SECOND
from cri.methods import METHODS
from cri.transport import MAX_MESSAGE_BYTES, Code, CriError, Transport
from pleg.runtime.grpc_transport import GrpcTransport

from .bytes_server import EVENTS, PATIENCE, VERSION, BytesServer, connected, failure, serving

pytestmark = pytest.mark.anyio


async def test_it_is_a_transport(path: Path) -> None:
    transport: Transport = GrpcTransport(str(path))
    await transport.aclose()


@pytest.mark.parametrize("form", ["unix://{}", "unix:{}", "{}"])
async def test_bytes_go_through_untouched_whatever_the_endpoint_is_called(path: Path, form: str) -> None:
    garbage = bytes(range(256))
    async with serving(path):
        transport = GrpcTransport(form.format(path))
        try:
            assert await transport.unary(VERSION, b"echo " + garbage, timeout_ns=None) == garbage
            assert await transport.unary(VERSION, b"echo", timeout_ns=SECOND * PATIENCE) == b""
            assert await transport.unary(VERSION, b"echo", timeout_ns=2**63 - 1) == b""
            async with transport.stream(EVENTS, b"echo " + garbage) as messages:
                assert [message async for message in messages] == [garbage]
        finally:
            await transport.aclose()


async def test_a_path_with_odd_characters(tmp_path: Path) -> None:
    odd = tmp_path / "a b%41#c?ä.sock"
    async with serving(tmp_path / "real.sock"):
        odd.symlink_to(tmp_path / "real.sock")
        transport = GrpcTransport(f"unix://{odd}")
        assert await transport.unary(VERSION, b"echo x", timeout_ns=SECOND * PATIENCE) == b"x"
        await transport.aclose()


async def test_over_tcp() -> None:
    handler = BytesServer()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    for endpoint in (f"tcp://127.0.0.1:{port}", f"dns:///127.0.0.1:{port}", f"dns:127.0.0.1:{port}"):
        transport = GrpcTransport(endpoint)
        assert await transport.unary(VERSION, b"echo x", timeout_ns=SECOND * PATIENCE) == b"x"
        await transport.aclose()
    await server.stop(None)
    transport = GrpcTransport(f"tcp://127.0.0.1:{port}")
    assert (await failure(transport)).message == (
        'connection error: desc = "transport: Error while dialing: '
        f'dial tcp 127.0.0.1:{port}: connect: connection refused"'
    )
    await transport.aclose()


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("", "'' is no runtime endpoint: write unix:///PATH, as in unix:///run/containerd/containerd.sock"),
        ("run/x.sock", "'run/x.sock' is no runtime endpoint"),
        ("unix://", "'unix://' is no runtime endpoint"),
        ("unix:", "'unix:' is no runtime endpoint"),
        ("http://127.0.0.1:1", "is no runtime endpoint"),
        ("unix://run/x.sock", "has no absolute path: write three slashes, as in unix:///run/x.sock"),
        ("tcp://127.0.0.1", "names no host and port: write tcp://HOST:PORT, as in tcp://127.0.0.1:5000"),
        ("tcp://127.0.0.1:99999", "names no host and port"),
        ("tcp://:80", "names no host and port"),
        ("tcp://a:80/x", "names no host and port"),
        ("unix:///" + "x" * 107, "is too long for a unix socket: 107 bytes at most"),
    ],
)
async def test_a_bad_endpoint_is_refused_in_one_sentence(endpoint: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"^'.*'") as raised:
        GrpcTransport(endpoint)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
async def test_a_servers_own_error_comes_as_it_is(path: Path, code: Code) -> None:
    async with connected(path) as (transport, _):
        error = await failure(transport, b"abort " + code.name.encode())
        assert (error.code, error.message) == (code, "the server's own words")


async def test_an_unknown_method(path: Path) -> None:
    async with connected(path) as (transport, _):
        with pytest.raises(CriError) as raised:
            await transport.unary(METHODS["Status"], b"", timeout_ns=None)
        assert raised.value.code is Code.UNIMPLEMENTED


async def test_a_missed_deadline_is_the_servers_cancellation_too(path: Path) -> None:
    async with connected(path) as (transport, server):
        error = await failure(transport, b"hold", timeout_ns=100 * MILLISECOND)
        assert str(error) == "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
        with anyio.fail_after(PATIENCE):
            await server.cancelled.wait()


@pytest.mark.parametrize("timeout_ns", [0, -SECOND])
async def test_a_deadline_that_is_over(path: Path, timeout_ns: int) -> None:
    async with connected(path) as (transport, _):
        assert (await failure(transport, b"hold", timeout_ns=timeout_ns)).code is Code.DEADLINE_EXCEEDED


async def test_an_answer_larger_than_the_limit(path: Path) -> None:
    async with connected(path) as (transport, _):
        assert len(await transport.unary(VERSION, b"large %d" % MAX_MESSAGE_BYTES, timeout_ns=None)) == 16 * 1024**2
        words = "grpc: received message larger than max (16777217 vs. 16777216)"
        error = await failure(transport, b"large %d" % (MAX_MESSAGE_BYTES + 1))
        assert (error.code, error.message) == (Code.RESOURCE_EXHAUSTED, words)
        with pytest.raises(CriError) as raised:
            async with transport.stream(EVENTS, b"large %d" % (MAX_MESSAGE_BYTES + 1)) as messages:
                await anext(messages)
        assert (raised.value.code, raised.value.message) == (Code.RESOURCE_EXHAUSTED, words)


async def test_a_request_larger_than_the_limit(path: Path) -> None:
    async with connected(path) as (transport, _):
        error = await failure(transport, bytes(MAX_MESSAGE_BYTES + 1))
        words = "trying to send message larger than max (16777217 vs. 16777216)"
        assert (error.code, error.message) == (Code.RESOURCE_EXHAUSTED, words)


async def test_a_smaller_limit_can_be_set(path: Path) -> None:
    async with serving(path):
        transport = GrpcTransport(str(path), max_message_bytes=100)
        error = await failure(transport, b"large 101")
        assert error.message == "grpc: received message larger than max (101 vs. 100)"
        await transport.aclose()
