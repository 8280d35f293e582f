"""The way to a real runtime: cri.transport.Transport over grpc.aio, with the kubelet's settings and Go's words.

The one file of pleg that touches gRPC, because three of its ways must not get out: its own bare CancelledErrors (which
anyio's scopes do not know as theirs, grpc#43502), its core's error texts, and its channel, which has to be opened and
closed inside the running loop. asyncio only.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from cri.clock import SECOND
from cri.methods import Method
from cri.transport import MAX_MESSAGE_BYTES, Code, CriError

# gRPC's core writes INFO lines to stderr (every GOAWAY) unless told otherwise before it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import grpc
import grpc.aio

T = TypeVar("T")

#: The longest path that fits a unix socket's address (sun_path less its final zero byte), in bytes.
MAX_SOCKET_PATH_BYTES: Final = 107
#: Longer waits than this (some 290 years hence) are for ever to gRPC: its deadlines are points in Unix time.
_FOR_EVER_NS: Final = 2**62
_CLOSING: Final = "grpc: the client connection is closing"
_LOST: Final = ("Socket closed", "Cancelling all calls", "GOAWAY received", "Broken pipe", "Endpoint closing")
_TOO_LARGE: Final = re.compile(r"(Received|Sent) message larger than max \((\d+) vs\. (\d+)\)")
_DIAL_FAILED: Final = re.compile(
    r"(?:failed to connect to all addresses(?:; last error: )?|(?=errors resolving|DNS resolution failed))(.*)",
    re.DOTALL,
)
_DIAL_ERRORS: Final = tuple(
    os.strerror(number)
    for number in (
        errno.ENOENT,
        errno.ECONNREFUSED,
        errno.EACCES,
        errno.EPERM,
        errno.ENOTSOCK,
        errno.ENOTDIR,
        errno.EAGAIN,
        errno.EPROTOTYPE,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
    )
)


class GrpcTransport:
    """One channel to the runtime at `endpoint`; made anywhere, used and closed within one running asyncio loop.

    `endpoint` is ``unix:///PATH``, ``unix:PATH``, ``/PATH`` (the kubelet's deprecated form), ``tcp://HOST:PORT`` or
    ``dns:///HOST:PORT``; anything else is a ValueError. `max_message_bytes` bounds one message, either way.

    Connects at the first call. While there is no connection a call fails at once; the channel retries by itself, 100 ms
    after the first failure and at most 3 s (and a jitter of a fifth) after a later one, as the kubelet's does.
    """

    def __init__(self, endpoint: str, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.endpoint = endpoint
        self._target, self._address = _parse_endpoint(endpoint)
        self._options = _channel_options(max_message_bytes)
        self._channel: grpc.aio.Channel | None = None
        self._unary: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}
        self._closed = False

    async def unary(self, method: Method, request: bytes, *, timeout_ns: int | None) -> bytes:
        """Call and return the serialized answer; every failure is a CriError."""
        channel = self._open()
        call = self._unary.get(method.path)
        if call is None:
            call = self._unary[method.path] = channel.unary_unary(method.path)
        return await self._settle(call(request, timeout=_timeout(timeout_ns)))

    def stream(
        self, method: Method, request: bytes, *, timeout_ns: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a server stream: entering connects and sends `request`, and does not wait for an answer to it."""
        return self._stream(method, request, timeout_ns)

    @asynccontextmanager
    async def _stream(self, method: Method, request: bytes, timeout_ns: int | None) -> AsyncGenerator[_Messages]:
        # The same on the wire as unary-stream, but its call alone tells "connected" from "answered".
        open_stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._open().stream_stream(method.path)
        call = open_stream(iter((request,)), timeout=_timeout(timeout_ns))
        try:
            await self._connected(call)
            yield _Messages(self, call)
        finally:
            call.cancel()

    async def _connected(self, call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        """Return once the call's head is on the wire; raise CriError if it never got that far."""
        with anyio.CancelScope() as waiting:
            # A call that is cancelled here and now (aclose) would leave its waiter waiting.
            call.add_done_callback(lambda _: waiting.cancel())
            try:
                await self._settle(call.wait_for_connection())
            except CriError:
                pass  # told below, or, when it was the server that ended the call, by the first read
        if call.done():
            code, details = Code((await call.code()).value[0]), await call.details()
            if self._closed:
                raise CriError(Code.CANCELLED, _CLOSING)
            if code is Code.DEADLINE_EXCEEDED or _DIAL_FAILED.match(details or ""):
                raise self._error(code, details)

    async def aclose(self) -> None:
        """Close the channel; calls under way end with CriError(CANCELLED), and so does every later one."""
        self._closed = True
        self._unary.clear()
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(None)

    def _open(self) -> grpc.aio.Channel:
        if self._closed:
            raise CriError(Code.CANCELLED, _CLOSING)
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._target, options=self._options)
        return self._channel

    async def _settle(self, outcome: Awaitable[T]) -> T:
        """Await what gRPC offers; let out its result, a CriError, or the caller's own cancellation, nothing else."""
        task = asyncio.current_task()
        assert task is not None
        requests = task.cancelling()
        try:
            return await outcome
        except grpc.aio.AioRpcError as error:
            raise self._error(Code(error.code().value[0]), error.details()) from None
        except asyncio.CancelledError:
            # gRPC raises a new one of its own, whoever cancelled. If a scope did, let the scope do it again.
            await checkpoint_if_cancelled()
            if task.cancelling() > requests:
                raise  # plain asyncio cancelled the task
            raise CriError(Code.CANCELLED, _CLOSING) from None

    def _error(self, code: Code, details: str | None) -> CriError:
        """What a Go client would say of this failure; a server's own words pass as they are."""
        return CriError(code, _go_words(code, details or "", self._address))


class _Messages:
    """The answers of one stream. Not a generator: one that is left half-way would have to be closed."""

    def __init__(self, transport: GrpcTransport, call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        self._transport = transport
        self._call = call

    def __aiter__(self) -> _Messages:
        return self

    async def __anext__(self) -> bytes:
        message: Any = await self._transport._settle(self._call.read())
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return bytes(message)


def _channel_options(max_message_bytes: int) -> tuple[tuple[str, int | str], ...]:
    return (
        ("grpc.default_authority", "localhost"),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 3_000),
        # Despite its name this is how long one attempt to connect may take (the kubelet's: 5 s), not a back-off.
        ("grpc.min_reconnect_backoff_ms", 5_000),
        ("grpc.enable_http_proxy", 0),
        # Two transports of one process must not share a connection, nor its back-off.
        ("grpc.use_local_subchannel_pool", 1),
    )


def _parse_endpoint(endpoint: str) -> tuple[str, str]:
    """gRPC's target, and the address as Go prints it after "dial"."""
    if endpoint.startswith("/"):
        path = endpoint
    elif endpoint.startswith("unix://"):
        path = endpoint.removeprefix("unix://")
        if path and not path.startswith("/"):
            raise ValueError(f"{endpoint!r} has no absolute path: write three slashes, as in unix:///{path}")
    elif endpoint.startswith("unix:"):
        path = endpoint.removeprefix("unix:")
    elif endpoint.startswith(("tcp://", "dns:")):
        host = urlsplit(f"//{re.sub('^(tcp://|dns:(///)?)', '', endpoint)}")
        try:
            valid = bool(host.hostname and host.port) and host.netloc.count("@") == 0 and not host.path
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(f"{endpoint!r} names no host and port: write tcp://HOST:PORT, as in tcp://127.0.0.1:5000")
        return f"dns:///{host.netloc}", f"tcp {host.netloc}"
    else:
        path = ""
    if not path or "\0" in path:
        raise ValueError(
            f"{endpoint!r} is no runtime endpoint: write unix:///PATH, as in unix:///run/containerd/containerd.sock"
        )
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"{path!r} is too long for a unix socket: {MAX_SOCKET_PATH_BYTES} bytes at most")
    return "unix:" + quote(path), f"unix {path}"


def _timeout(timeout_ns: int | None) -> float | None:
    return None if timeout_ns is None or timeout_ns >= _FOR_EVER_NS else max(0, timeout_ns) / SECOND


def _go_words(code: Code, details: str, address: str) -> str:
    match code:
        case Code.DEADLINE_EXCEEDED if details in ("Deadline Exceeded", "Stream removed (Deadline Exceeded)"):
            return "context deadline exceeded"
        case Code.RESOURCE_EXHAUSTED if found := _TOO_LARGE.search(details):
            verb = "grpc: received" if found[1] == "Received" else "trying to send"
            return f"{verb} message larger than max ({found[2]} vs. {found[3]})"
        case Code.UNAVAILABLE if found := _DIAL_FAILED.match(details):
            return f'connection error: desc = "{_dial_words(found[1] or "", address)}"'
        case Code.UNAVAILABLE if os.strerror(errno.ECONNRESET) in details:
            return f"error reading from server: read {_connection(address)}: read: connection reset by peer"
        case Code.UNAVAILABLE if any(text in details for text in _LOST):
            return "error reading from server: EOF"
    return details


def _dial_words(reason: str, address: str) -> str:
    for text in _DIAL_ERRORS:
        if text in reason:
            return f"transport: Error while dialing: dial {address}: connect: {text[0].lower()}{text[1:]}"
    if "before receiving SETTINGS" in reason:
        return f"error reading server preface: read {_connection(address)}: use of closed network connection"
    if os.strerror(errno.ECONNRESET) in reason:
        return f"error reading server preface: read {_connection(address)}: read: connection reset by peer"
    if any(text in reason for text in _LOST):
        return "error reading server preface: EOF"
    return f"transport: Error while dialing: dial {address}: {reason or 'no address'}"


def _connection(address: str) -> str:
    """Both ends, as Go prints them; the near one is only a port number, which gRPC does not tell."""
    return address.replace("unix ", "unix @->", 1) if address.startswith("unix ") else address.replace(" ", " ->", 1)
