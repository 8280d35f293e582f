"""The fake runtime over gRPC: a server whose handlers carry bytes, so that corrupt answers travel like any other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, aclosing, asynccontextmanager
from typing import Final

import anyio
import grpc
import grpc.aio

from cri.methods import METHODS, Method
from cri.transport import MAX_MESSAGE_BYTES, Code, CriError
from fake_cri.listening import Address, bound, stale
from fake_cri.runtime import FakeRuntime

#: What calls under way get at the end before they are cancelled, in seconds.
_GRACE: Final = 0.2

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),  # as containerd's
    ("grpc.max_send_message_length", -1),  # an oversized answer shall get out
    ("grpc.so_reuseport", 0),
    ("grpc.http2.max_ping_strikes", 0),  # clients that ping often are no enemies
)

_Context = grpc.aio.ServicerContext[bytes, bytes]
_UnaryHandler = Callable[[bytes, _Context], Awaitable[bytes]]
_StreamHandler = Callable[[bytes, _Context], AsyncIterator[bytes]]


@asynccontextmanager
async def serving(runtime: FakeRuntime, address: Address) -> AsyncIterator[Address]:
    """Serve while the block runs; gives the address as bound. At the end open streams and calls end within a second.

    Raises ListenError when the address cannot be had.
    """
    endpoint = _Endpoint(runtime, address)
    try:
        await endpoint.up()
        runtime.outage.add(endpoint)
        yield endpoint.address
    finally:
        with anyio.CancelScope(shield=True):
            runtime.outage.remove(endpoint)
            runtime.events.close()
            await endpoint.close()


class _Endpoint:
    """A listening server, which goes and comes back at the same address."""

    def __init__(self, runtime: FakeRuntime, address: Address) -> None:
        self.address = address
        self._runtime = runtime
        self._bound = ExitStack()
        self._server: grpc.aio.Server | None = None

    async def up(self) -> None:
        self._bound.close()
        server = grpc.aio.server(handlers=[_Handlers(self._runtime)], options=_OPTIONS)
        self._server = server
        self.address = self._bound.enter_context(bound(self.address, server.add_insecure_port))
        await server.start()

    async def down(self, *, socket: bool) -> None:
        await self.close(grace=None)
        if socket and self.address.path is not None:
            self._bound.enter_context(stale(self.address.path))

    async def close(self, grace: float | None = _GRACE) -> None:
        """Calls under way get `grace` seconds; then nothing of it is left."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace)
        self._bound.close()


class _Handlers(grpc.GenericRpcHandler):
    """All rpcs of CRI v1; what is not built answers UNIMPLEMENTED there, what is unknown does so here."""

    def __init__(self, runtime: FakeRuntime) -> None:
        self._table = {method.path: _handler(runtime, method) for method in METHODS.values()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        path = handler_call_details.method
        known = self._table.get(path)
        if known is not None:
            return known
        _, _, rest = path.partition("/")
        service, _, name = rest.rpartition("/")
        services = {method.service for method in METHODS.values()}
        text = f"unknown method {name} for service {service}" if service in services else f"unknown service {service}"
        return grpc.stream_stream_rpc_method_handler(_refusing(CriError(Code.UNIMPLEMENTED, text)))


def _handler(runtime: FakeRuntime, method: Method) -> grpc.RpcMethodHandler[bytes, bytes]:
    if method.streams:
        return grpc.unary_stream_rpc_method_handler(_streaming(runtime, method))
    return grpc.unary_unary_rpc_method_handler(_unary(runtime, method))


def _unary(runtime: FakeRuntime, method: Method) -> _UnaryHandler:
    async def handle(request: bytes, context: _Context) -> bytes:
        try:
            return await runtime.unary(method, request)
        except CriError as error:
            failure = error
        except Exception as error:  # a fault of ours must not reach clients as a traceback
            failure = CriError(Code.INTERNAL, f"{method}: {type(error).__name__}: {error}")
        return await _abort(context, failure)

    return handle


def _streaming(runtime: FakeRuntime, method: Method) -> _StreamHandler:
    async def handle(request: bytes, context: _Context) -> AsyncIterator[bytes]:
        try:
            async with aclosing(runtime.stream(method, request)) as messages:
                async for message in messages:
                    yield message
            return
        except CriError as error:
            failure = error
        except Exception as error:
            failure = CriError(Code.INTERNAL, f"{method}: {type(error).__name__}: {error}")
        await _abort(context, failure)

    return handle


def _refusing(failure: CriError) -> Callable[[object, _Context], AsyncIterator[bytes]]:
    async def handle(_requests: object, context: _Context) -> AsyncIterator[bytes]:
        await _abort(context, failure)
        yield b""

    return handle


async def _abort(context: _Context, failure: CriError) -> bytes:
    await context.abort(grpc.StatusCode[failure.code.name], failure.message)
