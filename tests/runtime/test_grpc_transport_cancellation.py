"""Whoever cancels a gRPC call, what comes out is theirs; and nothing is left behind."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from cri.transport import Code, CriError
from pleg.runtime.grpc_transport import GrpcTransport

from .bytes_server import EVENTS, PATIENCE, VERSION, connected, failure, serving, until

pytestmark = pytest.mark.anyio


async def test_entering_a_stream_can_be_cancelled_while_it_connects(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        transport = GrpcTransport(str(path))
        with anyio.move_on_after(0.05) as scope:
            async with transport.stream(EVENTS, b"hold"):
                pytest.fail("there is nothing to enter")
        assert scope.cancelled_caught
        await transport.aclose()


async def test_an_anyio_timeout_around_a_call_is_that_scopes_own(path: Path) -> None:
    """grpc#43502: gRPC's own CancelledError would escape the scope and end the task."""
    async with connected(path) as (transport, server):
        with anyio.move_on_after(0.1) as scope:
            await transport.unary(VERSION, b"hold", timeout_ns=None)
        assert scope.cancelled_caught
        with anyio.fail_after(PATIENCE):
            await server.cancelled.wait()
        with anyio.move_on_after(0.1) as scope:
            async with transport.stream(EVENTS, b"hold") as messages:
                await anext(messages)
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await transport.unary(VERSION, b"hold", timeout_ns=None)
        assert await transport.unary(VERSION, b"echo x", timeout_ns=None) == b"x"


async def test_a_call_in_a_scope_that_was_cancelled_before_it_began(path: Path) -> None:
    async with connected(path) as (transport, _):
        for _ in range(20):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await transport.unary(VERSION, b"echo x", timeout_ns=None)
            assert scope.cancelled_caught
            with anyio.CancelScope() as scope:
                scope.cancel()
                async with transport.stream(EVENTS, b"hold") as messages:
                    await anext(messages)
            assert scope.cancelled_caught


async def test_plain_asyncio_cancellation_ends_the_task(path: Path) -> None:
    async with connected(path) as (transport, server):
        task = asyncio.ensure_future(transport.unary(VERSION, b"hold", timeout_ns=None))
        await server.begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with anyio.fail_after(PATIENCE):
            await server.cancelled.wait()


async def test_a_call_works_in_a_shielded_scope_of_a_cancelled_task(path: Path) -> None:
    async with connected(path) as (transport, _):
        answers = []
        with anyio.CancelScope() as outer:
            outer.cancel()
            try:
                await anyio.lowlevel.checkpoint()
            finally:
                with anyio.CancelScope(shield=True):
                    answers.append(await transport.unary(VERSION, b"echo x", timeout_ns=None))
                    assert (await failure(transport, b"abort ABORTED")).code is Code.ABORTED
        assert answers == [b"x"]


async def test_closing_ends_calls_under_way_and_refuses_later_ones(path: Path) -> None:
    ends: list[str] = []
    async with serving(path):
        transport = GrpcTransport(str(path))

        async def call() -> None:
            ends.append(str(await failure(transport, b"hold")))

        async def watch() -> None:
            async with transport.stream(EVENTS, b"hold x") as messages:
                ends.append((await anext(messages)).decode())
                with pytest.raises(CriError) as raised:
                    await anext(messages)
            ends.append(str(raised.value))

        async def all_under_way() -> bool:
            return ends == ["x"]

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            tasks.start_soon(watch)
            await until(all_under_way)
            await transport.aclose()
        closing = "rpc error: code = Canceled desc = grpc: the client connection is closing"
        assert ends == ["x", closing, closing]
        assert str(await failure(transport)) == closing
        with pytest.raises(CriError, match="is closing"):
            async with transport.stream(EVENTS, b"hold"):
                pytest.fail("there is nothing to enter")
        await transport.aclose()


async def test_closing_while_a_stream_connects(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        transport = GrpcTransport(str(path))

        async def watch() -> None:
            with pytest.raises(CriError, match="is closing"):
                async with transport.stream(EVENTS, b"hold"):
                    pytest.fail("there is nothing to enter")

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                await anyio.wait_all_tasks_blocked()
                await transport.aclose()


async def test_no_task_is_left(path: Path) -> None:
    before = asyncio.all_tasks()

    async def as_before() -> bool:
        # The server, in the same loop here, has two of its own.
        return not [task for task in asyncio.all_tasks() - before if "AioServer" not in repr(task)]

    async with connected(path) as (transport, server):
        assert await transport.unary(VERSION, b"echo x", timeout_ns=None) == b"x"
        async with transport.stream(EVENTS, b"hold x") as messages:
            assert await anext(messages) == b"x"
        with anyio.move_on_after(0.05):
            await transport.unary(VERSION, b"hold", timeout_ns=None)
        with anyio.move_on_after(0.05):
            async with transport.stream(EVENTS, b"hold") as messages:
                await anext(messages)
        await server.cancelled.wait()
        await until(as_before)
