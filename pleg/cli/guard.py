"""Whether a kubelet lives on this machine: opening the event stream beside one can take its events from it.

When in doubt there is one: whatever takes the connection counts, also if it is frozen, slow, or no HTTP server.
"""

from __future__ import annotations

import re
import socket
from typing import Final
from urllib.parse import SplitResult, urlsplit

from cri.clock import SECOND, Clock, seconds
from pleg.cli.errors import CliError, UsageError

#: Where every kubelet answers unless it is told otherwise (healthzBindAddress, healthzPort).
KUBELET_HEALTHZ: Final = "http://127.0.0.1:10248/healthz"
#: For all of it, in ns; a probe that takes longer has found something.
_TIMEOUT: Final = SECOND

_STATUS_LINE: Final = re.compile(rb"HTTP/\d\.\d (\d{3})[ \r\n]")
_LONGEST_STATUS_LINE: Final = 1000


def refuse_beside_kubelet(url: str, *, design: str) -> None:
    """Raise CliError if a kubelet answers on `url`, UsageError if that is no URL; `off` asks nobody."""
    if url == "off":
        return
    answer = kubelet_answer(url)
    if answer is not None:
        raise CliError(
            f"a kubelet seems to run here ({answer}), and --pleg {design} would open a second event stream beside "
            "its own, which can take events from it (containerd 1.7): use --pleg generic, which only lists, or "
            "--share-events if you accept that"
        )


def check_url(url: str) -> None:
    """Raises UsageError where `url` is neither `off` nor a URL that can be asked."""
    if url != "off":
        _parse(url)


def kubelet_answer(url: str) -> str | None:
    """What is on `url`, within about a second; None if nothing listens there. Raises UsageError."""
    parts = _parse(url)
    host, port = parts.hostname or "", parts.port or 80
    try:
        # Never by a proxy, whatever the environment says.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UsageError(f"--kubelet-healthz: no host {host!r} is known here; give its address, or off") from None
    left = _Countdown(_TIMEOUT)
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as connection:
            try:
                connection.settimeout(left())
                connection.connect(address)
            except TimeoutError:  # a queue of connections that nobody takes is full
                return f"{url} takes no connection within a second"
            except OSError:
                continue
            return f"{url} {_behaviour(connection, parts, left)}"
    return None


def _parse(url: str) -> SplitResult:
    try:
        # urlsplit drops some control characters without a word, so the text is looked at before it.
        parts = urlsplit(url) if re.fullmatch(r"[!-~]+", url) else None
        if parts is not None and parts.scheme == "http" and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass
    raise UsageError(f"--kubelet-healthz is a URL such as {KUBELET_HEALTHZ}, or off, not {url!r}")


def _behaviour(connection: socket.socket, parts: SplitResult, left: _Countdown) -> str:
    """What it does when asked. What is left is for all of its answer: it may come byte by byte."""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    answer = b""
    try:
        connection.settimeout(left())
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        while len(answer) < _LONGEST_STATUS_LINE:
            if status := _STATUS_LINE.match(answer):
                return f"answered {status[1].decode()}"
            connection.settimeout(left())
            received = connection.recv(_LONGEST_STATUS_LINE)
            if not received:
                break
            answer += received
    except TimeoutError:
        # A frozen kubelet accepts connections too, and has its stream open.
        return "accepts connections without answering"
    except OSError:
        pass
    return "accepts connections, but does not answer as HTTP" if answer else "accepts connections and closes them"


class _Countdown:
    """Says how many seconds are left. Raises TimeoutError when none are."""

    def __init__(self, nanoseconds: int) -> None:
        self._clock = Clock.real()
        self._end = self._clock.monotonic() + nanoseconds

    def __call__(self) -> float:
        left = self._end - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError
        return seconds(left)
