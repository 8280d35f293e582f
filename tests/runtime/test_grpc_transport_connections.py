"""No connection, and a lost one: fails at once in Go's words, and heals by itself."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from cri.clock import MILLISECOND, SECOND
from cri.transport import Code, CriError
from pleg.runtime.grpc_transport import GrpcTransport

from .bytes_server import EVENTS, PATIENCE, VERSION, failure, serving, until

pytestmark = pytest.mark.anyio


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


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A socket in use that lets nobody in."""
    path = tmp_path / "closed.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0)
        yield path


@pytest.fixture
def unprivileged(closed: Path) -> Iterator[None]:
    """Root may connect to anything; for the length of a test it is nobody."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


@pytest.mark.usefixtures("unprivileged")
async def test_a_socket_that_one_may_not_open(closed: Path) -> None:
    transport = GrpcTransport(str(closed))
    assert (await failure(transport)).message == dial_words(closed, "permission denied")
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


async def test_two_transports_do_not_share_a_back_off(path: Path) -> None:
    """A process with many nodes: one that is backing off must not hold up one that just began."""
    first, second = GrpcTransport(str(path)), GrpcTransport(str(path))
    for _ in range(2):
        assert (await failure(first)).code is Code.UNAVAILABLE
    async with serving(path):
        assert await second.unary(VERSION, b"echo x", timeout_ns=SECOND) == b"x"
    await first.aclose()
    await second.aclose()


NOWHERE = "failed to connect to all addresses"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (f"{NOWHERE}; last error: UNKNOWN: unix:/x: error: Permission denied", "connect: permission denied"),
        (f"{NOWHERE}; last error: UNKNOWN: unix:/x: No route to host", "connect: no route to host"),
        (f"{NOWHERE}; last error: something else", "something else"),
        (NOWHERE, "no address"),
        (
            "errors resolving no.where:1: [hostname lookup error]",
            "errors resolving no.where:1: [hostname lookup error]",
        ),
    ],
)
def test_why_there_is_no_connection_in_gos_words(said: str, words: str) -> None:
    error = GrpcTransport("/x")._error(Code.UNAVAILABLE, said)
    assert error.message == f'connection error: desc = "transport: Error while dialing: dial unix /x: {words}"'


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
