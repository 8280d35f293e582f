"""How a CRI request reaches a runtime: bytes in, bytes out, over gRPC or within one process.

Both halves speak serialized messages, so that corrupt and oversized answers travel like any other.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from cri.methods import Method

#: What a kubelet accepts in one message, in bytes (k8s.io/cri-client, maxMsgSize).
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024


class Code(enum.IntEnum):
    """gRPC status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def go_name(self) -> str:
        """The name as Go's gRPC prints it, e.g. ``DeadlineExceeded``."""
        return "Canceled" if self is Code.CANCELLED else self.name.title().replace("_", "") if self else "OK"


class CriError(Exception):
    """A CRI call that did not end with OK. Its text is what a Go client would log."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"rpc error: code = {self.code.go_name} desc = {self.message}"


class Transport(Protocol):
    """A way to one runtime.

    Errors: every failure is a `CriError`, a missed deadline one with `Code.DEADLINE_EXCEEDED`. Timeouts are
    nanoseconds from the call on; None waits for ever.
    """

    async def unary(self, method: Method, request: bytes, *, timeout_ns: int | None) -> bytes:
        """Call and return the serialized answer."""
        ...

    def stream(
        self, method: Method, request: bytes, *, timeout_ns: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a server stream.

        Entering connects: it raises CriError(UNAVAILABLE) when there is no connection, and returns before the
        server has answered. Iterating ends at a clean end of the stream and raises CriError otherwise.
        Leaving cancels the stream.
        """
        ...

    async def aclose(self) -> None:
        """Drop the connection; calls under way end with CANCELLED."""
        ...
