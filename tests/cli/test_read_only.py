"""`pleg run` changes nothing: of all rpcs of CRI only those that look come through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cri.methods import METHODS, Method
from pleg.runtime.read_only import ALLOWED, ForbiddenCall, ReadOnlyTransport

pytestmark = pytest.mark.anyio


class Recorder:
    """A transport that answers everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.closed = False

    async def unary(self, method: Method, request: bytes, *, timeout_ns: int | None) -> bytes:
        self.asked.append(method.name)
        return request

    @asynccontextmanager
    async def stream(
        self, method: Method, request: bytes, *, timeout_ns: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append(method.name)

        async def messages() -> AsyncIterator[bytes]:
            yield request

        yield messages()

    async def aclose(self) -> None:
        self.closed = True


async def call(transport: ReadOnlyTransport, method: Method) -> bytes:
    if not method.streams:
        return await transport.unary(method, b"x", timeout_ns=None)
    async with transport.stream(method, b"x") as messages:
        return b"".join([message async for message in messages])


def test_what_may_pass_only_looks() -> None:
    assert {name for name in METHODS if name in ALLOWED} == ALLOWED
    assert not {name for name in ALLOWED if not name.startswith(("List", "Stream", "Get", "Version"))} - {
        "Status",
        "PodSandboxStatus",
        "ContainerStatus",
    }


@pytest.mark.parametrize("name", sorted(METHODS))
async def test_every_rpc(name: str) -> None:
    recorder = Recorder()
    transport = ReadOnlyTransport(recorder)
    if name in ALLOWED:
        assert await call(transport, METHODS[name]) == b"x"
        assert recorder.asked == [name]
    else:
        with pytest.raises(ForbiddenCall, match=f"^{name} is not among the calls that only look"):
            await call(transport, METHODS[name])
        assert recorder.asked == []


async def test_closing_closes() -> None:
    recorder = Recorder()
    await ReadOnlyTransport(recorder).aclose()
    assert recorder.closed
