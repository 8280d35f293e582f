"""Containers that end by themselves, by the annotation fake-cri/exit-after."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import grpc.aio
import pytest

from cri.clock import SECOND, Clock
from cri.methods import METHODS
from cri.v1 import api_pb2 as pb
from fake_cri.faults import parse_fault
from fake_cri.journal import Change
from fake_cri.listening import parse_address
from fake_cri.runtime import FakeRuntime
from fake_cri.server import serving

from .support import (
    IMAGE,
    Client,
    container_config,
    in_virtual_time,
    make_client,
    profile_named,
    sandbox_config,
    settle,
)

AFTER = {"fake-cri/exit-after": "2s"}


@asynccontextmanager
async def alive(**options: Any) -> AsyncIterator[Client]:
    """A client of a runtime that runs."""
    client = make_client(**options)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.runtime.run)
        await settle()
        yield client
        tasks.cancel_scope.cancel()


async def pod(client: Client, annotations: dict[str, str]) -> str:
    config = sandbox_config()
    config.annotations.update(annotations)
    return str((await client.call("RunPodSandbox", config=config)).pod_sandbox_id)


@pytest.mark.parametrize(
    ("annotations", "exit_code", "reason"),
    [({}, 0, "Completed"), ({"fake-cri/exit-code": "3"}, 3, "Error"), ({"fake-cri/exit-code": "0"}, 0, "Completed")],
)
@in_virtual_time
async def test_it_ends_after_its_time(annotations: dict[str, str], exit_code: int, reason: str) -> None:
    async with alive() as client:
        container = await client.start(await client.run(), annotations=AFTER | annotations)
        await anyio.sleep(1.999)
        assert (await client.status(container)).state == pb.CONTAINER_RUNNING
        await anyio.sleep(0.002)
        status = await client.status(container)
        assert (status.state, status.exit_code, status.reason) == (pb.CONTAINER_EXITED, exit_code, reason)
        assert status.finished_at == status.started_at + 2 * SECOND


@in_virtual_time
async def test_it_is_an_exit_like_any_other() -> None:
    journal: list[Change] = []
    async with alive(journal=journal.append) as client:
        async with client.events() as events:
            container = await client.start(await client.run(), annotations=AFTER)
            await anyio.sleep(3)
        last = journal[-1]
        assert (last.id, last.old, last.new) == (container, "CONTAINER_RUNNING", "CONTAINER_EXITED")
        (stopped,) = (event for event in events if event.container_event_type == pb.CONTAINER_STOPPED_EVENT)
        assert (stopped.container_id, stopped.created_at) == (container, last.time_ns)
        assert (await client.status(container)).finished_at == last.time_ns


@in_virtual_time
async def test_a_pods_annotation_is_for_all_or_for_one() -> None:
    async with alive() as client:
        sandbox = await pod(client, {"fake-cri/exit-after.setup": "2s", "fake-cri/exit-code.setup": "4"})
        setup, main = await client.start(sandbox, "setup"), await client.start(sandbox, "main")
        await anyio.sleep(3)
        assert (await client.status(setup)).exit_code == 4
        assert (await client.status(main)).state == pb.CONTAINER_RUNNING
    async with alive() as client:
        sandbox = await pod(client, AFTER | {"fake-cri/exit-after.late": "1m"})
        others = {name: await client.start(sandbox, name) for name in ("setup", "main", "late")}
        own = await client.start(sandbox, "own", annotations={"fake-cri/exit-after": "1m"})
        await anyio.sleep(3)
        states = {name: (await client.status(container)).state for name, container in others.items()}
        assert [name for name, state in states.items() if state == pb.CONTAINER_EXITED] == ["setup", "main"]
        assert (await client.status(own)).state == pb.CONTAINER_RUNNING


@in_virtual_time
async def test_a_stop_or_a_removal_before_it_is_the_end() -> None:
    journal: list[Change] = []
    async with alive(journal=journal.append) as client:
        sandbox = await client.run()
        lingering = await client.start(sandbox, "lingering", annotations=AFTER | {"fake-cri/stop-after": "5s"})
        killed = await client.start(sandbox, "killed", annotations=AFTER)
        removed = await client.start(sandbox, "removed", annotations=AFTER)
        await client.call("StopContainer", container_id=killed, timeout=0)
        await client.call("RemoveContainer", container_id=removed)
        await client.call("StopContainer", container_id=lingering, timeout=30)
        assert client.runtime.clock.now() == (await client.status(lingering)).started_at + 5 * SECOND
        assert [(await client.status(one)).exit_code for one in (lingering, killed)] == [143, 137]
        assert [change.id for change in journal if change.new == "CONTAINER_EXITED"] == [killed, removed, lingering]


@in_virtual_time
async def test_the_earlier_ends_first_and_equals_in_the_order_of_their_starts() -> None:
    journal: list[Change] = []
    async with alive(journal=journal.append) as client:
        sandbox = await client.run()
        ids = {
            name: await client.start(sandbox, name, annotations={"fake-cri/exit-after": after})
            for name, after in (("a", "3s"), ("b", "1s"), ("c", "3s"), ("d", "0s"))
        }
        await anyio.sleep(4)
        names = {full_id: name for name, full_id in ids.items()}
        ends = [names[change.id] for change in journal if change.new == "CONTAINER_EXITED"]
        assert ends == ["d", "b", "a", "c"]


@pytest.mark.parametrize(
    ("incident", "shift"),
    [
        ("@1s..10s: clock_step(1h)", 3600),
        ("@1s..10s: clock_step(-1h)", -3600),
        ("@1s..3s: socket_gone", 0),
        ("@1s: restart(2s)", 0),
    ],
)
@in_virtual_time
async def test_incidents_do_not_keep_it(incident: str, shift: int) -> None:
    journal: list[Change] = []
    faults = [parse_fault(f"Runtime {incident}")]
    async with alive(faults=faults, journal=journal.append) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.runtime.outage.run)
        begin = client.runtime.clock.now()
        container = await client.start(await client.run(), annotations=AFTER)
        await anyio.sleep(5)
        last = journal[-1]
        assert (last.id, last.new, last.time_ns) == (container, "CONTAINER_EXITED", begin + 2 * SECOND)
        status = await client.status(container)
        assert (status.exit_code, status.finished_at) == (0, begin + (2 + shift) * SECOND)
        tasks.cancel_scope.cancel()


@in_virtual_time
async def test_a_crash_loses_its_exit_code() -> None:
    async with alive(faults=[parse_fault("Runtime @1s..3s: crash")]) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.runtime.outage.run)
        container = await client.start(await client.run(), annotations=AFTER)
        await anyio.sleep(5)
        status = await client.status(container)
        assert (status.exit_code, status.reason) == (255, "Unknown")
        tasks.cancel_scope.cancel()


@pytest.fixture
def anyio_backend(grpc_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return grpc_backend


@pytest.mark.anyio
async def test_over_grpc(tmp_path_factory: pytest.TempPathFactory) -> None:
    path: Path = tmp_path_factory.mktemp("s") / "s"
    runtime = FakeRuntime(profile_named("containerd-2.4"), clock=Clock.real())
    runtime.catalogue.pull(IMAGE)
    config = container_config()
    config.annotations["fake-cri/exit-after"] = "20ms"
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.run)
            async with (
                serving(runtime, parse_address(f"unix://{path}")),
                grpc.aio.insecure_channel(f"unix:{path}") as at,
            ):

                async def call(rpc: str, **fields: Any) -> Any:
                    method = METHODS[rpc]
                    ask: Any = at.unary_unary(method.path)
                    return method.response.FromString(await ask(method.request(**fields).SerializeToString()))

                subscribe: Any = at.unary_stream(METHODS["GetContainerEvents"].path)
                events = subscribe(b"")
                while not runtime.events.subscribers:  # noqa: ASYNC110 - it has no such event
                    await anyio.sleep(0.001)
                sandbox = (await call("RunPodSandbox", config=sandbox_config())).pod_sandbox_id
                created = await call("CreateContainer", pod_sandbox_id=sandbox, config=config)
                await call("StartContainer", container_id=created.container_id)
                while True:
                    event = pb.ContainerEventResponse.FromString(await events.read())
                    if event.container_event_type == pb.CONTAINER_STOPPED_EVENT:
                        break
                status = (await call("ContainerStatus", container_id=created.container_id)).status
                assert (event.container_id, status.state) == (created.container_id, pb.CONTAINER_EXITED)
                assert status.finished_at >= status.started_at + 20_000_000
                events.cancel()
            tasks.cancel_scope.cancel()
