"""Whether a kubelet lives on this machine: opening the event stream beside one can take its events from it."""

from __future__ import annotations

import http.client
from typing import Final
from urllib.parse import urlsplit

from pleg.cli.errors import CliError, UsageError

#: Where every kubelet answers unless it is told otherwise (healthzBindAddress, healthzPort).
KUBELET_HEALTHZ: Final = "http://127.0.0.1:10248/healthz"
_TIMEOUT: Final = 1.0


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


def kubelet_answer(url: str) -> str | None:
    """What answered on `url`, any HTTP status counts; None if nothing listens there. Raises UsageError."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme != "http" or not host:
        raise UsageError(f"--kubelet-healthz is a URL such as {KUBELET_HEALTHZ}, or off, not {url!r}")
    # Never by a proxy, whatever the environment says.
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.connect()
    except (OSError, UnicodeError):
        return None
    try:
        connection.request("GET", parts.path or "/")
        return f"{url} answered {connection.getresponse().status}"
    except TimeoutError:
        # A frozen kubelet accepts connections too, and has its stream open.
        return f"{url} accepts connections without answering"
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
