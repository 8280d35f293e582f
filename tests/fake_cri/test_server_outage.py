"""Incidents over a real socket: the server goes, and comes back at the same address."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import anyio
import pytest

from fake_cri.faults import parse_fault
from fake_cri.listening import Address, ListenError
from fake_cri.runtime import FakeRuntime
from fake_cri.server import serving

from .test_server import call, channel, failure, make, there

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(grpc_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return grpc_backend


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "s"


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


async def until_down(runtime: FakeRuntime, path: Path, *, stays: bool) -> None:
    while not (runtime.outage.is_down and there(path) is stays):  # noqa: ASYNC110 - gRPC takes its time
        await anyio.sleep(0.01)


@pytest.mark.parametrize(("incident", "stays"), [("crash", True), ("socket_gone", False)])
async def test_it_goes_and_comes_back(path: Path, incident: str, stays: bool) -> None:
    runtime = make("Version: 1*off->1*hang->off")
    with anyio.fail_after(20):
        async with serving(runtime, Address(path)) as address, anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.outage.run)
            async with channel(address) as opened:
                await call(opened, "Version")
                ends: list[str] = []

                async def hung() -> None:
                    ends.append(await failure(opened, "Version"))

                async with anyio.create_task_group() as clients:
                    clients.start_soon(hung)
                    while runtime.counts["Version"].calls < 2:  # noqa: ASYNC110 - gRPC takes its time
                        await anyio.sleep(0.01)
                    armed = runtime.arm(parse_fault(f"Runtime: {incident}"))
                assert ends[0].startswith(("UNAVAILABLE", "CANCELLED"))
            await until_down(runtime, path, stays=stays)
            assert not answers(path)
            runtime.disarm(armed)
            while not answers(path):  # noqa: ASYNC110 - gRPC takes its time
                await anyio.sleep(0.01)
            async with channel(address) as opened:
                await call(opened, "Version")
            tasks.cancel_scope.cancel()
    assert not there(path)


async def test_its_end_while_it_is_down_leaves_no_socket(path: Path) -> None:
    runtime = make("Runtime: crash")
    with anyio.fail_after(20):
        async with serving(runtime, Address(path)), anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.outage.run)
            await until_down(runtime, path, stays=True)
            tasks.cancel_scope.cancel()
    assert not there(path)


async def test_it_cannot_come_back_where_another_listens(path: Path) -> None:
    runtime = make()
    with anyio.fail_after(20):
        async with serving(runtime, Address(path)):
            with pytest.RaisesGroup(ListenError, flatten_subgroups=True):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(runtime.outage.run)
                    armed = runtime.arm(parse_fault("Runtime: socket_gone"))
                    await until_down(runtime, path, stays=False)
                    async with serving(make(), Address(path)):
                        runtime.disarm(armed)
                        await anyio.sleep(5)
    assert not there(path)


async def test_a_tcp_port_is_kept() -> None:
    runtime = make()
    with anyio.fail_after(20):
        async with serving(runtime, Address(None, "127.0.0.1", 0)) as address, anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.outage.run)
            runtime.arm(parse_fault("Runtime: restart(50ms)"))
            await anyio.sleep(0.3)
            async with channel(address) as opened:
                await call(opened, "Version")
            tasks.cancel_scope.cancel()
