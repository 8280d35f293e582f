"""A small gRPC server of bytes, and how the tests of the transport reach it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import grpc
import grpc.aio
import pytest

from cri.methods import METHODS
from cri.transport import CriError, Transport
from pleg.runtime.grpc_transport import GrpcTransport

VERSION = METHODS["Version"]
EVENTS = METHODS["GetContainerEvents"]
#: What no test waits longer for, in s: only a broken one gets there.
PATIENCE = 20

Context = grpc.aio.ServicerContext[bytes, bytes]


class BytesServer(grpc.GenericRpcHandler):
    """Does for every rpc what the request's first word says, and tells when a call has begun and was cancelled."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.cancelled = anyio.Event()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        if details.method == EVENTS.path:
            return grpc.unary_stream_rpc_method_handler(self.answer_stream)
        return grpc.unary_unary_rpc_method_handler(self.answer) if details.method == VERSION.path else None

    async def answer(self, request: bytes, context: Context) -> bytes:
        return b"".join([message async for message in self.answer_stream(request, context)])

    async def answer_stream(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        self.begun.set()
        word, _, rest = request.partition(b" ")
        if word == b"echo":
            yield rest
        elif word == b"large":
            yield bytes(int(rest))
        elif word == b"abort":
            await context.abort(grpc.StatusCode[rest.decode()], "the server's own words")
        elif word == b"count":
            for number in range(int(rest)):
                yield str(number).encode()
        elif word == b"break":
            yield b"0"
            await context.abort(grpc.StatusCode.DATA_LOSS, "broken off")
        elif word == b"hold":
            if rest:
                yield rest
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise


@asynccontextmanager
async def serving(path: Path) -> AsyncGenerator[BytesServer]:
    handler = BytesServer()
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield handler
    finally:
        await server.stop(None)


@asynccontextmanager
async def connected(path: Path) -> AsyncGenerator[tuple[GrpcTransport, BytesServer]]:
    transport = GrpcTransport(f"unix://{path}")
    async with serving(path) as server:
        try:
            yield transport, server
        finally:
            await transport.aclose()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for `condition`; real time, because gRPC's is."""
    end = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < end, "waited too long"
        await anyio.sleep(0.01)


async def failure(transport: Transport, request: bytes = b"echo", *, timeout_ns: int | None = None) -> CriError:
    with pytest.raises(CriError) as raised:
        await transport.unary(VERSION, request, timeout_ns=timeout_ns)
    return raised.value
