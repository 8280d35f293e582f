"""A node over gRPC, whose runtime can come, go and misbehave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from cri.clock import MILLISECOND, SECOND, Clock
from fake_cri.faults import parse_fault
from fake_cri.listening import parse_address
from fake_cri.profiles import load_profile
from fake_cri.runtime import FakeRuntime
from fake_cri.server import serving
from fake_cri.workload import Workload
from pleg.hooks import Hooks
from pleg.kubelet import Kubelet, Pleg, Settings
from pleg.observe.agreement import cache_states, differences
from pleg.runtime.grpc_transport import GrpcTransport

#: A condition that takes longer than this will not come. Recovery waits for gRPC's own pauses of up to 3 s.
PATIENCE: Final = 30


@pytest.fixture
def anyio_backend(grpc_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return grpc_backend


class LogLines(Hooks):
    """The log, each line as its message and its values."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, severity: str, source: str, message: str, /, v: int = 0, **values: object) -> None:
        self.lines.append(" ".join([message, *(f"{key}={value}" for key, value in values.items())]))

    def has(self, *parts: str) -> bool:
        return any(all(part in line for part in parts) for line in self.lines)


class Bench:
    """A socket, the runtime behind it if there is one, and the node in front of it."""

    def __init__(self, socket: Path, pleg: Pleg, **settings: Any) -> None:
        self.endpoint = f"unix://{socket}"
        self.log = LogLines()
        self.runtime: FakeRuntime | None = None
        self.transport = GrpcTransport(self.endpoint)
        quick: dict[str, Any] = {
            "relist_period": 20 * MILLISECOND,
            "evented_relist_period": 100 * MILLISECOND,
            "poll_period": 50 * MILLISECOND,
            "relist_threshold": 3 * SECOND,
        }
        chosen = Settings(pleg=pleg, **{**quick, **settings})
        self.kubelet = Kubelet(self.transport, Clock.real(), settings=chosen, hooks=[self.log])

    @asynccontextmanager
    async def serve(
        self, *faults: str, pods: int = 4, seed: int = 1, runtime: str = "containerd-2.4"
    ) -> AsyncIterator[FakeRuntime]:
        """A runtime behind the socket while the block runs."""
        self.runtime = FakeRuntime(
            load_profile(runtime), clock=Clock.real(), seed=seed, faults=[parse_fault(fault) for fault in faults]
        )
        Workload(self.runtime, pods=pods, seed=seed).populate()
        async with serving(self.runtime, parse_address(self.endpoint)):
            yield self.runtime

    def agrees(self) -> bool:
        """Whether the cache holds what the runtime has, and the sync loop has nothing to complain of."""
        assert self.runtime is not None
        truth: dict[str, dict[str, str]] = {}
        snapshot = self.runtime.snapshot()
        for kind in (snapshot["sandboxes"], snapshot["containers"]):
            for id_, (uid, state) in kind.items():
                truth.setdefault(uid, {})[id_] = state
        cache = cache_states(self.kubelet.cache.entries())
        return not differences(truth, cache) and not self.kubelet.runtime_state.runtime_errors()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - of a process's whole state there is no event
            await anyio.sleep(0.01)


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    """The node, watching while the block runs."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.kubelet.run)
        yield bench
        tasks.cancel_scope.cancel()
    await bench.transport.aclose()
