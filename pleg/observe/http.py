"""A node's HTTP endpoints, served by a thread with an event loop of its own, so that no scrape delays the PLEG.

Follows apiserver's healthz package (`handleRootHealth`, `adaptCheckToHandler`) and pkg/kubelet/server of Kubernetes
1.36 for /healthz and /metrics.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pleg.observe import connections, exposition, views
from pleg.observe.views import Views

#: What each path is for, in the order in which they are listed.
PATHS: Final = {
    "/metrics": "the kubelet's metrics of this PLEG, for Prometheus",
    "/healthz": "all health checks; ?verbose lists them, ?exclude=NAME leaves one out",
    "/healthz/ping": "ok as long as this process answers",
    "/healthz/log": "ok, as in the kubelet",
    "/healthz/syncloop": "whether the sync loop was entered within the last five minutes",
    "/node": "node conditions, and the calls that are being waited for",
    "/pods": "the pods in the cache as a v1 PodList",
    "/cache": "the pod cache as it is: status, error, modified and observed time",
    "/events": "the last 1000 events that the sync loop read",
}

_LISTING: Final = "".join(f"{path:<18} {what}\n" for path, what in PATHS.items())
#: Connections that may wait to be accepted.
_QUEUE: Final = 128
_NO_SNIFF: Final = {"X-Content-Type-Options": "nosniff"}


def application(node: Views) -> Starlette:
    """The endpoints as an ASGI application."""

    def json_of(view: Callable[[Views], bytes]) -> Callable[[Request], Response]:
        return lambda request: Response(view(node), media_type="application/json")

    def metrics(request: Request) -> Response:
        return Response(node.metrics(), headers={"Content-Type": exposition.CONTENT_TYPE})

    # In the order of the kubelet's server.
    checks: dict[str, Callable[[], str | None]] = {
        "ping": lambda: None,
        "log": lambda: None,
        "syncloop": node.sync_loop_error,
    }
    handlers: dict[str, Callable[[Request], Response]] = {
        "/": lambda request: PlainTextResponse(_LISTING),
        "/metrics": metrics,
        "/healthz": lambda request: _health(request, checks),
        "/node": json_of(views.node),
        "/pods": json_of(views.pods),
        "/cache": json_of(views.cache),
        "/events": json_of(views.events),
    }
    for name, check in checks.items():
        handlers[f"/healthz/{name}"] = _one_check(check)
    return Starlette(
        routes=[Route(path, _endpoint(handler)) for path, handler in handlers.items()],
        exception_handlers={404: _not_found},
    )


def _endpoint(handler: Callable[[Request], Response]) -> Callable[..., object]:
    # Starlette would run a plain function in a pool of threads; this one has its thread already.
    async def endpoint(request: Request) -> Response:
        try:
            return handler(request)
        except Exception as error:
            return _error(f"internal server error: {request.url.path} failed with {error!r}")

    return endpoint


def _health(request: Request, checks: dict[str, Callable[[], str | None]]) -> Response:
    excluded = dict.fromkeys(request.query_params.getlist("exclude"))
    lines, failed = [], False
    for name, check in checks.items():
        if name in excluded:
            del excluded[name]
            lines.append(f"[+]{name} excluded: ok\n")
        elif check() is None:
            lines.append(f"[+]{name} ok\n")
        else:
            failed = True
            lines.append(f"[-]{name} failed: reason withheld\n")
    if excluded:
        names = ",".join(f'"{name}"' for name in sorted(excluded))
        lines.append(f"warn: some health checks cannot be excluded: no matches for {names}\n")
    if failed:
        return _error("".join(lines) + "healthz check failed")
    text = "".join(lines) + "healthz check passed\n" if "verbose" in request.query_params else "ok"
    return PlainTextResponse(text, headers=_NO_SNIFF)


def _one_check(check: Callable[[], str | None]) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        problem = check()
        return PlainTextResponse("ok") if problem is None else _error(f"internal server error: {problem}")

    return answer


def _error(text: str) -> Response:
    return PlainTextResponse(f"{text}\n", 500, headers=_NO_SNIFF)


def _not_found(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"404 page not found: {request.url.path} is none of\n{_LISTING}", 404)


class AddressError(Exception):
    """An address on which nobody can listen, in one sentence."""


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:9815`` or ``[::1]:0``. Raises ValueError with a sentence."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not (colon and bare and port.isascii() and port.isdigit() and int(port) < 2**16) or (":" in bare) != (
        host != bare
    ):
        raise ValueError(f"{text!r} is no address: write HOST:PORT, as in 127.0.0.1:9815 or [::1]:0, or off")
    return bare, int(port)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, from now on connections wait in its queue. Raises AddressError."""
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressError(f"cannot listen on {shown}: {error.strerror}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_QUEUE)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressError(
                f"{shown} is taken by another program: choose another port with --http, or port 0 for any free one"
            ) from None
        raise AddressError(f"cannot listen on {shown}: {error.strerror}") from None
    return listening


def url(listening: socket.socket) -> str:
    """Where a socket really listens: ``http://127.0.0.1:9815``."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(_QUEUE)  # asyncio has made the queue as short as what it accepts at once


class HttpServer:
    """Serves an application on a socket, from `start` to `stop`, in a thread of its own."""

    def __init__(
        self, app: Starlette, listening: socket.socket, *, say: Callable[[str], object] = lambda text: None
    ) -> None:
        """`say` takes a line for the user, in that thread, when connections cannot be served."""
        self._socket = listening
        self._say = say
        self._server = _Server(
            uvicorn.Config(
                app,
                http=connections.Connection,
                backlog=connections.ACCEPTED_AT_ONCE,
                ws="none",
                loop="asyncio",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self, timeout: float = 0.8) -> None:
        """Stop within `timeout` seconds, whatever clients do."""
        self._server.should_exit = True
        self._thread.join(timeout / 2)
        self._server.force_exit = True
        self._thread.join(timeout / 2)
        self._socket.close()

    def _serve(self) -> None:
        asyncio.run(self._serve_on_loop())

    async def _serve_on_loop(self) -> None:
        asyncio.get_running_loop().set_exception_handler(connections.Complaints(self._say))
        await self._server.serve(sockets=[self._socket])
