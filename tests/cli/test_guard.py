"""Whether a kubelet lives here: any HTTP answer says yes, silence on an open connection too."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from pleg.cli import guard
from pleg.cli.errors import CliError, UsageError

Serve = Callable[[bytes | None], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Listens, and answers one connection with some bytes, or (None) keeps it open without a word."""
    listening = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(answer: bytes | None) -> str:
        def run() -> None:
            connection, _ = listening.accept()
            held.append(connection)
            if answer is not None:
                connection.recv(1000)
                connection.sendall(answer)
                connection.close()

        threads.append(threading.Thread(target=run))
        threads[0].start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/healthz"

    yield start
    for thread in threads:
        thread.join()
    for connection in held:
        connection.close()
    listening.close()


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "500 Internal Server Error"])
def test_any_answer_is_a_kubelet(serve: Serve, status: str) -> None:
    url = serve(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok".encode())
    assert guard.kubelet_answer(url) == f"{url} answered {status[:3]}"


def test_a_frozen_kubelet_is_one(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_TIMEOUT", 0.05)
    url = serve(None)
    assert guard.kubelet_answer(url) == f"{url} accepts connections without answering"


def test_something_that_speaks_no_http_is_none(serve: Serve) -> None:
    assert guard.kubelet_answer(serve(b"SSH-2.0-OpenSSH\r\n")) is None


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert guard.kubelet_answer(f"http://127.0.0.1:{port}/healthz") is None


def test_a_proxy_is_never_asked(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert guard.kubelet_answer(serve(b"HTTP/1.1 200 OK\r\n\r\n")) is not None


@pytest.mark.parametrize("url", ["", "127.0.0.1:10248", "https://127.0.0.1/", "http://", "http://h:x/", "ftp://h/"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(UsageError, match="--kubelet-healthz is a URL such as http://"):
        guard.kubelet_answer(url)


def test_the_refusal_gives_the_reason_and_what_to_do(serve: Serve) -> None:
    url = serve(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(CliError) as caught:
        guard.refuse_beside_kubelet(url, design="hinted")
    assert caught.value.exit_code == 1
    for part in (f"{url} answered 200", "--pleg hinted", "--pleg generic", "--share-events"):
        assert part in str(caught.value)


def test_off_asks_nobody() -> None:
    guard.refuse_beside_kubelet("off", design="evented")
