"""Streams over gRPC: entering, reading, each kind of end."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from cri.clock import MILLISECOND
from cri.methods import METHODS
from cri.transport import Code, CriError
from pleg.runtime.grpc_transport import GrpcTransport

from .bytes_server import EVENTS, PATIENCE, connected, serving

pytestmark = pytest.mark.anyio


async def test_a_stream_that_ends_cleanly(path: Path) -> None:
    async with connected(path) as (transport, _), transport.stream(EVENTS, b"count 500") as messages:
        assert [int(message) async for message in messages] == list(range(500))
        with pytest.raises(StopAsyncIteration):
            await anext(messages)


async def test_a_stream_that_ends_with_an_error(path: Path) -> None:
    async with connected(path) as (transport, _), transport.stream(EVENTS, b"break") as messages:
        assert await anext(messages) == b"0"
        for _ in range(2):
            with pytest.raises(CriError) as raised:
                await anext(messages)
            assert (raised.value.code, raised.value.message) == (Code.DATA_LOSS, "broken off")


@pytest.mark.parametrize("code", ["UNIMPLEMENTED", "UNAVAILABLE", "CANCELLED"])
async def test_what_the_server_answers_is_for_the_reader_not_for_the_one_who_enters(path: Path, code: str) -> None:
    async with connected(path) as (transport, _):
        for _ in range(20):
            async with transport.stream(EVENTS, b"abort " + code.encode()) as messages:
                with pytest.raises(CriError) as raised:
                    await anext(messages)
                assert (raised.value.code.name, raised.value.message) == (code, "the server's own words")


async def test_an_unknown_stream_is_entered_and_its_first_read_fails(path: Path) -> None:
    async with connected(path) as (transport, _):
        async with transport.stream(METHODS["StreamContainers"], b"") as messages:
            with pytest.raises(CriError) as raised:
                await anext(messages)
        assert raised.value.code is Code.UNIMPLEMENTED


async def test_entering_does_not_wait_for_an_answer_and_leaving_cancels(path: Path) -> None:
    async with connected(path) as (transport, server):
        with anyio.fail_after(PATIENCE):
            async with transport.stream(EVENTS, b"hold"):
                await server.begun.wait()
                assert not server.cancelled.is_set()
            await server.cancelled.wait()


async def test_a_stream_left_under_cancellation(path: Path) -> None:
    async with connected(path) as (transport, server), anyio.create_task_group() as tasks:
        reached = anyio.Event()

        async def watch() -> None:
            async with transport.stream(EVENTS, b"hold x") as messages:
                assert await anext(messages) == b"x"
                reached.set()
                await anext(messages)
                pytest.fail("was cancelled")

        tasks.start_soon(watch)
        await reached.wait()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await server.cancelled.wait()


async def test_a_server_that_dies_in_the_middle_of_a_stream(path: Path) -> None:
    transport = GrpcTransport(str(path))
    async with serving(path):
        stream = transport.stream(EVENTS, b"hold x")
        messages = await stream.__aenter__()
        assert await anext(messages) == b"x"
    with pytest.raises(CriError) as raised:
        await anext(messages)
    assert str(raised.value) == "rpc error: code = Unavailable desc = error reading from server: EOF"
    await stream.__aexit__(None, None, None)
    await transport.aclose()


async def test_a_streams_deadline(path: Path) -> None:
    async with connected(path) as (transport, _):
        with pytest.raises(CriError) as raised:
            async with transport.stream(EVENTS, b"hold", timeout_ns=100 * MILLISECOND) as messages:
                await anext(messages)
        assert (raised.value.code, raised.value.message) == (Code.DEADLINE_EXCEEDED, "context deadline exceeded")
