"""What HTTP clients may cost: idle, slow and too many connections, and what is said of no room for more."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from pleg.observe import connections
from pleg.observe.http import HttpServer, application, listen

from .node import Node

#: What no test waits longer for, in s: only a broken one gets there.
PATIENCE = 20.0
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n"

Connect = Callable[[], socket.socket]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens connections to a server."""
    listening = listen("127.0.0.1", 0)
    server = HttpServer(application(Node().views()), listening)
    server.start()
    opened: list[socket.socket] = []

    def open_one() -> socket.socket:
        opened.append(socket.create_connection(listening.getsockname(), timeout=PATIENCE))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()
    server.stop()


def ended(connection: socket.socket) -> bool:
    """Whether the server let it go; what came before that is read and forgotten."""
    try:
        while connection.recv(1000):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def answers(connection: socket.socket) -> bool:
    """Whether a request is answered; the answer is read to its end."""
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b"\r\n\r\nok"):
        received = connection.recv(1000)
        if not received:
            return False
        answer += received
    return answer.startswith(b"HTTP/1.1 200 OK")


def drip(connection: socket.socket) -> None:
    """A header line after the other, until the server has enough of it."""
    connection.sendall(b"GET /healthz HTTP/1.1\r\n")
    deadline = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline:
            connection.sendall(b"X-More: 1\r\n")
            time.sleep(0.01)
    except ConnectionError:
        return
    raise AssertionError("it went on for ever")


def test_a_client_that_says_nothing_is_dropped(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.05)
    assert ended(connect())


def test_a_client_that_never_completes_its_request_is_dropped(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.05)
    drip(connect())


def test_neither_does_a_second_request_take_for_ever(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.05)
    connection = connect()
    assert answers(connection)
    drip(connection)


def test_a_client_that_asks_again_and_again_is_kept(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.1)
    connection = connect()
    for _ in range(15):
        assert answers(connection)
        time.sleep(0.01)


def test_of_too_many_clients_those_that_waited_longest_go(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "OPEN", 4)
    idle = [connect() for _ in range(20)]
    last = connect()
    assert answers(last)
    assert all(ended(connection) for connection in idle[:17])
    for connection in idle[17:]:
        assert answers(connection)


class Loop(asyncio.SelectorEventLoop):
    """At a time of the test's."""

    now = 0.0

    def time(self) -> float:
        return self.now


def test_no_room_for_more_is_one_line_a_minute() -> None:
    said: list[str] = []
    complaints, loop = connections.Complaints(said.append), Loop()
    full = {"message": "socket.accept() out of system resource", "exception": OSError(24, "Too many open files")}
    for now in (0.0, 1.0, 59.0):
        loop.now = now
        complaints(loop, full)
    assert said == ["warning: the HTTP endpoints have trouble: Too many open files"]
    loop.now = 60.0
    complaints(loop, {"message": "something else"})
    assert said[1:] == ["warning: the HTTP endpoints have trouble: something else"]
    loop.close()
