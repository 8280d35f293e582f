"""A transport that lets nothing through that could change a runtime: `pleg run` stands beside production kubelets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final

from cri.methods import Method
from cri.transport import Transport

#: Every call that may pass. All of them only look; opening the event stream can still take events from a kubelet.
ALLOWED: Final = frozenset(
    {
        "Version",
        "Status",
        "ListPodSandbox",
        "ListContainers",
        "StreamPodSandboxes",
        "StreamContainers",
        "PodSandboxStatus",
        "ContainerStatus",
        "GetContainerEvents",
    }
)


class ForbiddenCall(RuntimeError):
    """This program tried to act on a runtime that it was told to watch only: its own mistake, never the runtime's."""

    def __init__(self, method: Method) -> None:
        super().__init__(f"{method} is not among the calls that only look, and was not sent: please report this")


class ReadOnlyTransport:
    """Passes the calls of `ALLOWED` on to another transport. Raises ForbiddenCall for all others, sending nothing."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def unary(self, method: Method, request: bytes, *, timeout_ns: int | None) -> bytes:
        _check(method)
        return await self._transport.unary(method, request, timeout_ns=timeout_ns)

    def stream(
        self, method: Method, request: bytes, *, timeout_ns: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        _check(method)
        return self._transport.stream(method, request, timeout_ns=timeout_ns)

    async def aclose(self) -> None:
        await self._transport.aclose()


def _check(method: Method) -> None:
    if method.name not in ALLOWED:
        raise ForbiddenCall(method)
