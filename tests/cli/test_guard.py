"""Whether a kubelet lives here: whatever takes the connection says yes, also one that is silent, slow, or no HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cri.clock import MILLISECOND
from pleg.cli import guard, main
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
    monkeypatch.setattr(guard, "_TIMEOUT", 50 * MILLISECOND)
    url = serve(None)
    assert guard.kubelet_answer(url) == f"{url} accepts connections without answering"


def test_something_that_speaks_no_http_counts(serve: Serve) -> None:
    url = serve(b"SSH-2.0-OpenSSH\r\n")
    assert guard.kubelet_answer(url) == f"{url} accepts connections, but does not answer as HTTP"


def test_something_that_closes_at_once_counts(serve: Serve) -> None:
    url = serve(b"")
    assert guard.kubelet_answer(url) == f"{url} accepts connections and closes them"


def test_an_answer_byte_by_byte_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_TIMEOUT", 100 * MILLISECOND)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        gone = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                for _ in range(200):
                    if gone.wait(0.05):
                        return
                    connection.sendall(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        begin = time.monotonic()
        assert guard.kubelet_answer(url) == f"{url} accepts connections without answering"
        assert time.monotonic() - begin < 1
        gone.set()
        thread.join()


def test_a_full_queue_of_connections_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_TIMEOUT", 50 * MILLISECOND)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with socket.create_connection(listening.getsockname()):
            assert guard.kubelet_answer(url) == f"{url} takes no connection within a second"


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert guard.kubelet_answer(f"http://127.0.0.1:{port}/healthz") is None


def test_a_proxy_is_never_asked(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert guard.kubelet_answer(serve(b"HTTP/1.1 200 OK\r\n\r\n")) is not None


NO_URLS = (
    *("", "127.0.0.1:10248", "https://127.0.0.1/", "http://", "http://h:x/", "ftp://h/", "http://127.0.0.1:0/"),
    *(
        "http://[::1",
        "http://a b/",
        "http://127.0.0.1:1/healthz/a b",
        "http://127.0.0.1:1/\x01",
        "http://127.0.0.1:1/\n",
    ),
    "http://127.0.0.1:1/ä",
)


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_url(url: str) -> None:
    for ask in (guard.kubelet_answer, guard.check_url):
        with pytest.raises(UsageError, match="--kubelet-healthz is a URL such as http://"):
            ask(url)


@pytest.mark.parametrize("design", ["generic", "hinted"])
@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_url_is_wrong_usage_in_every_design(
    design: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--runtime-endpoint", "/x", "--http", "off", "--pleg", design, "--kubelet-healthz", url]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pleg run: --kubelet-healthz is a URL such as ")


def test_a_host_that_nobody_knows_is_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UsageError, match="no host 'nowhere' is known here"):
        guard.kubelet_answer("http://nowhere/healthz")


def test_the_refusal_gives_the_reason_and_what_to_do(serve: Serve) -> None:
    url = serve(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(CliError) as caught:
        guard.refuse_beside_kubelet(url, design="hinted")
    assert caught.value.exit_code == 1
    for part in (f"{url} answered 200", "--pleg hinted", "--pleg generic", "--share-events"):
        assert part in str(caught.value)


def test_off_asks_nobody() -> None:
    guard.refuse_beside_kubelet("off", design="evented")
