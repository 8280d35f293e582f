"""What HTTP clients may cost a node: so many connections, each for so long, and one line when no more can be served.

uvicorn bounds neither: a client that never completes its request would hold its descriptor for ever, and enough of them
would leave none for the runtime's socket.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

#: Connections that may be open at once; for one more, that which has waited longest is dropped.
OPEN: Final = 64
#: Connections that one turn of the loop accepts; some turns pass before those that were dropped are closed.
ACCEPTED_AT_ONCE: Final = 32
#: Seconds that a client may take to send its first request, and to read an answer and send the next one. One that
#: sends nothing after its answer is let go earlier, by uvicorn, after 5 s.
REQUEST_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 60.0
_BETWEEN_COMPLAINTS: Final = 60.0


class Connection(H11Protocol):
    """One client's connection."""

    _since = 0.0
    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        others = [other for other in self.connections if isinstance(other, Connection)]
        if len(others) >= OPEN:
            min(others, key=lambda other: other._since).drop()
        super().connection_made(transport)
        self._give(REQUEST_SECONDS)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._give(ANSWER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._limit is not None:
            self._limit.cancel()
        super().connection_lost(exc)

    def drop(self) -> None:
        """Close it now, whatever is under way."""
        self.connections.discard(self)  # it is one less from this moment on
        self.transport.abort()

    def _give(self, seconds: float) -> None:
        if self._limit is not None:
            self._limit.cancel()
        self._since = self.loop.time()
        self._limit = self.loop.call_later(seconds, self.drop)


class Complaints:
    """A loop's exception handler: one line of what went wrong, once a minute at most, instead of a traceback."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._last = -math.inf

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        now = loop.time()
        if now - self._last < _BETWEEN_COMPLAINTS:
            return
        self._last = now
        error = context.get("exception")
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error or context.get("message")
        self._say(f"warning: the HTTP endpoints have trouble: {reason}")
