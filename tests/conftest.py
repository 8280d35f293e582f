"""What tests of every concept share: the one event loop on which gRPC may be used."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # read when gRPC is loaded: its core logs every GOAWAY


class _LastingLoop(asyncio.SelectorEventLoop):
    """Outlives the runner of each test.

    grpc.aio has one completion queue per process, and raises when an answer arrives for a loop that was closed; after
    a cancelled call one may, and some later test would fail for it.
    """

    def close(self) -> None:
        pass

    async def shutdown_asyncgens(self) -> None:
        await super().shutdown_asyncgens()
        self._asyncgens_shutdown_called = False

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        pass

    def close_at_last(self) -> None:
        self.run_until_complete(super().shutdown_default_executor())
        super().close()


@pytest.fixture(scope="session")
def grpc_backend() -> Iterator[tuple[str, dict[str, Any]]]:
    """anyio's backend for tests that use gRPC in this process: let their `anyio_backend` return it."""
    loop = _LastingLoop()
    yield "asyncio", {"loop_factory": lambda: loop}
    loop.close_at_last()
