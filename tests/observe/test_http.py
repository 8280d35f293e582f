"""The endpoints: paths, codes, health in the kubelet's words, the thread that serves them, addresses."""

from __future__ import annotations

import http.client
import json
import socket
import time

import httpx
import pytest

from pleg.observe.http import (
    PATHS,
    AddressError,
    HttpServer,
    application,
    is_loopback,
    listen,
    parse_address,
    url,
)

from .node import Node

pytestmark = pytest.mark.anyio


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def get(node: Node, path: str, method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(app=application(node.views()))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        return await client.request(method, path)


async def test_every_listed_path_answers(node: Node) -> None:
    for path in PATHS:
        assert (await get(node, path)).status_code == 200, path


async def test_metrics_are_text_of_version_0_0_4(node: Node) -> None:
    answer = await get(node, "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text == "up 1\n"


@pytest.mark.parametrize("path", ["/node", "/pods", "/cache", "/events"])
async def test_the_rest_is_json(node: Node, path: str) -> None:
    answer = await get(node, path)
    assert answer.headers["content-type"] == "application/json"
    json.loads(answer.text)


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("/healthz", 200, "ok"),
        ("/healthz/ping", 200, "ok"),
        ("/healthz/log", 200, "ok"),
        ("/healthz/syncloop", 200, "ok"),
        ("/healthz?verbose", 200, "[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n"),
        (
            "/healthz?verbose&exclude=log&exclude=etcd",
            200,
            "[+]ping ok\n[+]log excluded: ok\n[+]syncloop ok\n"
            'warn: some health checks cannot be excluded: no matches for "etcd"\nhealthz check passed\n',
        ),
    ],
)
async def test_health(node: Node, path: str, code: int, text: str) -> None:
    answer = await get(node, path)
    assert (answer.status_code, answer.text) == (code, text)


async def test_a_stuck_sync_loop_fails_health_in_the_kubelets_words(node: Node) -> None:
    node.sync_loop_error = "sync Loop took longer than expected"
    whole = await get(node, "/healthz")
    assert whole.status_code == 500
    assert whole.text == "[+]ping ok\n[+]log ok\n[-]syncloop failed: reason withheld\nhealthz check failed\n"
    one = await get(node, "/healthz/syncloop")
    assert (one.status_code, one.text) == (500, "internal server error: sync Loop took longer than expected\n")
    assert (await get(node, "/healthz/ping")).status_code == 200
    assert (await get(node, "/healthz?exclude=syncloop")).text == "ok"


async def test_what_is_not_there_is_told_what_is(node: Node) -> None:
    answer = await get(node, "/stats/summary")
    assert answer.status_code == 404
    assert all(path in answer.text for path in PATHS)
    assert (await get(node, "/")).text.splitlines()[0].startswith("/metrics")


async def test_only_reading_is_allowed(node: Node) -> None:
    answer = await get(node, "/pods", "DELETE")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert (await get(node, "/metrics", "HEAD")).status_code == 200


async def test_a_view_that_breaks_is_a_500_with_its_reason(node: Node) -> None:
    node.metrics = None  # type: ignore[assignment]
    node.conditions = [None]  # type: ignore[list-item]
    answer = await get(node, "/node")
    assert answer.status_code == 500
    assert "/node failed with AttributeError" in answer.text


def test_a_server_answers_on_its_own_thread_and_stops_within_a_second(node: Node) -> None:
    listening = listen("127.0.0.1", 0)
    server = HttpServer(application(node.views()), listening)
    port = listening.getsockname()[1]
    assert url(listening) == f"http://127.0.0.1:{port}"
    # Connections wait from the moment of listening on, though nobody serves them yet.
    early = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    early.connect()
    server.start()
    early.request("GET", "/healthz")
    assert early.getresponse().read() == b"ok"
    head = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    head.request("HEAD", "/metrics")
    answer = head.getresponse()
    assert (answer.read(), answer.headers["content-length"]) == (b"", "5")
    silent = socket.create_connection(("127.0.0.1", port))  # says nothing, and holds nothing up either
    begin = time.monotonic()
    server.stop()
    assert time.monotonic() - begin < 1
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the kernel likes
        socket.create_connection(("127.0.0.1", port)).recv(1)
    for connection in (early, head, silent):
        connection.close()


def test_garbage_on_the_wire_is_answered_and_says_nothing_on_stderr(
    node: Node, capfd: pytest.CaptureFixture[str]
) -> None:
    listening = listen("127.0.0.1", 0)
    server = HttpServer(application(node.views()), listening)
    server.start()
    with socket.create_connection(listening.getsockname()) as connection:
        connection.sendall(b"\x16\x03\x01 no http\r\n\r\n")
        assert b"400" in connection.recv(100)
    server.stop()
    assert capfd.readouterr().err == ""


def test_a_taken_port_is_one_sentence() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=rf"127\.0\.0\.1:{port} is taken .* --http"):
            listen("127.0.0.1", port)


def test_an_address_of_nobody_is_one_sentence() -> None:
    with pytest.raises(AddressError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        listen("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9815", ("127.0.0.1", 9815)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "9815", ":9815", "localhost", "localhost:", "a:b", "::1:80", "[::1]", "h:65536"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="write HOST:PORT"):
        parse_address(text)


def test_loopback() -> None:
    with listen("127.0.0.1", 0) as near, listen("0.0.0.0", 0) as far:
        assert is_loopback(near)
        assert not is_loopback(far)
