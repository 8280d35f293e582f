"""GrpcTransport against a small server of bytes: outcomes, a Go client's words, cancellation, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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

pytestmark = pytest.mark.anyio

VERSION = METHODS["Version"]
EVENTS = METHODS["GetContainerEvents"]
#: What no test waits longer for, in s: only a broken one gets there.
PATIENCE = 20
TOO_LARGE = MAX_MESSAGE_BYTES + 1

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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cri.sock"


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
    (tmp_path / "plain.sock").symlink_to(odd)
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
        error = await failure(transport, b"large %d" % TOO_LARGE)
        assert (error.code, error.message) == (Code.RESOURCE_EXHAUSTED, words)
        with pytest.raises(CriError) as raised:
            async with transport.stream(EVENTS, b"large %d" % TOO_LARGE) as messages:
                await anext(messages)
        assert (raised.value.code, raised.value.message) == (Code.RESOURCE_EXHAUSTED, words)


async def test_a_request_larger_than_the_limit(path: Path) -> None:
    async with connected(path) as (transport, _):
        error = await failure(transport, bytes(TOO_LARGE))
        words = "trying to send message larger than max (16777217 vs. 16777216)"
        assert (error.code, error.message) == (Code.RESOURCE_EXHAUSTED, words)


async def test_a_smaller_limit_can_be_set(path: Path) -> None:
    async with serving(path):
        transport = GrpcTransport(str(path), max_message_bytes=100)
        error = await failure(transport, b"large 101")
        assert error.message == "grpc: received message larger than max (101 vs. 100)"
        await transport.aclose()


# No connection


def dial_words(path: Path, reason: str) -> str:
    return f'connection error: desc = "transport: Error while dialing: dial unix {path}: connect: {reason}"'


async def test_a_missing_socket_fails_at_once_and_heals_by_itself(path: Path) -> None:
    transport = GrpcTransport(str(path))
    began = time.monotonic()
    words = dial_words(path, "no such file or directory")
    for _ in range(3):
        error = await failure(transport, timeout_ns=SECOND * PATIENCE)
        assert (error.code, error.message) == (Code.UNAVAILABLE, words)
    with pytest.raises(CriError) as raised:
        async with transport.stream(EVENTS, b"hold"):
            pytest.fail("there is nothing to enter")
    assert str(raised.value) == f"rpc error: code = Unavailable desc = {words}"
    assert time.monotonic() - began < 3

    async def answers() -> bool:
        try:
            return await transport.unary(VERSION, b"echo x", timeout_ns=SECOND) == b"x"
        except CriError:
            return False

    async with serving(path):
        await until(answers)
        async with transport.stream(EVENTS, b"count 1") as messages:
            assert [message async for message in messages] == [b"0"]
    assert time.monotonic() - began < 10
    await transport.aclose()


async def test_a_socket_that_nobody_listens_to(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    transport = GrpcTransport(str(path))
    assert (await failure(transport)).message == dial_words(path, "connection refused")
    await transport.aclose()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may connect to anything")
async def test_a_socket_that_one_may_not_open(path: Path) -> None:
    async with serving(path):
        path.chmod(0)  # noqa: ASYNC240
        transport = GrpcTransport(str(path))
        assert (await failure(transport)).message == dial_words(path, "permission denied")
        await transport.aclose()


async def test_what_hangs_up_is_no_runtime(path: Path) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listener = await asyncio.start_unix_server(hang_up, path)
    transport = GrpcTransport(str(path))
    # Which of the two depends on whether the system noticed unread bytes.
    assert (await failure(transport)).message in (
        'connection error: desc = "error reading server preface: EOF"',
        f'connection error: desc = "error reading server preface: read unix @->{path}: read: connection reset by peer"',
    )
    await transport.aclose()
    listener.close()
    await listener.wait_closed()


async def test_a_runtime_that_accepts_but_says_nothing_is_waited_for_no_longer_than_the_deadline(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        transport = GrpcTransport(str(path))
        assert (await failure(transport, timeout_ns=100 * MILLISECOND)).code is Code.DEADLINE_EXCEEDED
        with pytest.raises(CriError) as raised:
            async with transport.stream(EVENTS, b"hold", timeout_ns=100 * MILLISECOND):
                pytest.fail("there is nothing to enter")
        assert raised.value.code is Code.DEADLINE_EXCEEDED
        await transport.aclose()


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


async def test_a_server_that_goes_away_and_comes_back(path: Path) -> None:
    transport = GrpcTransport(str(path))
    errors: list[CriError] = []

    async def hold() -> None:
        errors.append(await failure(transport, b"hold"))

    async with anyio.create_task_group() as tasks, serving(path) as server:
        tasks.start_soon(hold)
        await server.begun.wait()
    assert [(error.code, error.message) for error in errors] == [
        (Code.UNAVAILABLE, "error reading from server: EOF"),
    ]
    async with serving(path):
        assert await transport.unary(VERSION, b"echo x", timeout_ns=None) == b"x"
    await transport.aclose()


# Streams


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


# Cancellation


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


# The end


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


async def test_two_transports_do_not_share_a_back_off(path: Path) -> None:
    """A process with many nodes: one that is backing off must not hold up one that just began."""
    first, second = GrpcTransport(str(path)), GrpcTransport(str(path))
    for _ in range(2):
        assert (await failure(first)).code is Code.UNAVAILABLE
    async with serving(path):
        assert await second.unary(VERSION, b"echo x", timeout_ns=SECOND) == b"x"
    await first.aclose()
    await second.aclose()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("connect failed: addr: unix:/x error: Permission denied", "dial unix /x: connect: permission denied"),
        ("Failed to connect to remote host: No route to host", "dial unix /x: connect: no route to host"),
        ("something else", "dial unix /x: something else"),
    ],
)
def test_why_there_is_no_connection_in_gos_words(said: str, words: str) -> None:
    details = f"failed to connect to all addresses; last error: UNKNOWN: unix:/x: {said}"
    error = GrpcTransport("/x")._error(Code.UNAVAILABLE, details)
    assert error.message.startswith('connection error: desc = "transport: Error while dialing: dial unix /x: ')
    assert words.rpartition(": ")[2] in error.message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Socket closed", "error reading from server: EOF"),
        ("Stream removed (Socket closed)", "error reading from server: EOF"),
        (
            "recvmsg: Connection reset by peer (104)",
            "error reading from server: read unix @->/x: read: connection reset by peer",
        ),
        (
            "failed to connect to all addresses; last error: UNKNOWN: unix:/x: "
            "connection attempt timed out before receiving SETTINGS frame",
            'connection error: desc = "error reading server preface: '
            'read unix @->/x: use of closed network connection"',
        ),
    ],
)
def test_how_a_connection_was_lost_in_gos_words(said: str, words: str) -> None:
    assert GrpcTransport("/x")._error(Code.UNAVAILABLE, said).message == words
