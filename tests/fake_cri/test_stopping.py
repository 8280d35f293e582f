"""How containers are stopped: by signal, by SIGKILL after the timeout, several times at once, by calls broken off."""

from __future__ import annotations

import anyio
import pytest

from cri.clock import MILLISECOND, SECOND
from cri.transport import Code
from cri.v1 import api_pb2 as pb

from .support import CRI_O, IMAGE, PROFILES, container_config, in_virtual_time, make_client, sandbox_config


@pytest.mark.parametrize(
    ("grace", "annotations", "exit_code", "least_ms", "most_ms"),
    [
        (0, {}, 137, 0, 0),
        (-1, {}, 137, 0, 0),
        (10, {}, 143, 1, 50),
        (10, {"fake-cri/stop-exit-code": "0"}, 0, 1, 50),
        (10, {"fake-cri/stop-after": "4s"}, 143, 4000, 4000),
        (10, {"fake-cri/stop-after": "1h"}, 137, 10_000, 10_000),
        (0, {"fake-cri/stop-exit-code": "0"}, 137, 0, 0),
    ],
)
@in_virtual_time
async def test_stop(grace: int, annotations: dict[str, str], exit_code: int, least_ms: int, most_ms: int) -> None:
    client = make_client()
    container = await client.start(await client.run(), annotations=annotations)
    begin = client.runtime.clock.monotonic()
    await client.call("StopContainer", container_id=container, timeout=grace)
    took = client.runtime.clock.monotonic() - begin
    assert least_ms * MILLISECOND <= took <= most_ms * MILLISECOND
    status = await client.status(container)
    assert (status.state, status.exit_code) == (pb.CONTAINER_EXITED, exit_code)
    assert status.reason == ("Completed" if exit_code == 0 else "Error")


@pytest.mark.parametrize(
    ("wanted", "exit_code"), [("SIGINT", 130), ("SIGQUIT", 131), ("SIGRTMINPLUS3", 165), ("SIGRTMAX", 192)]
)
@in_virtual_time
async def test_a_stop_signal_of_its_own(wanted: str, exit_code: int) -> None:
    client = make_client()
    sandbox = await client.run()
    client.runtime.catalogue.pull(IMAGE)
    config = container_config()
    config.stop_signal = pb.Signal.Value(f"SIGNAL_{wanted}")
    container = (await client.call("CreateContainer", pod_sandbox_id=sandbox, config=config)).container_id
    await client.call("StartContainer", container_id=container)
    await client.call("StopContainer", container_id=container, timeout=1)
    status = await client.status(container)
    assert (status.exit_code, status.stop_signal) == (exit_code, config.stop_signal)


@in_virtual_time
async def test_a_pods_annotation_speaks_for_its_containers() -> None:
    client = make_client()
    sandbox = await client.run()
    found = client.runtime.state.sandboxes.find(sandbox)
    assert found is not None
    found.config.annotations["fake-cri/stop-exit-code"] = "7"
    container = await client.start(sandbox)
    await client.call("StopContainer", container_id=container, timeout=1)
    assert (await client.status(container)).exit_code == 7


@in_virtual_time
async def test_stops_at_once_send_one_signal() -> None:
    client = make_client()
    container = await client.start(await client.run(), annotations={"fake-cri/stop-after": "5s"})
    begin = client.runtime.clock.monotonic()
    async with anyio.create_task_group() as tasks:
        for delay in (0, 2, 4):

            async def stop(delay: int) -> None:
                await anyio.sleep(delay)
                await client.call("StopContainer", container_id=container, timeout=30)

            tasks.start_soon(stop, delay)
    assert client.runtime.clock.monotonic() - begin == 5 * SECOND


@in_virtual_time
async def test_a_stop_broken_off() -> None:
    client = make_client()
    sandbox = await client.run()
    heeding = await client.start(sandbox, "heeding", annotations={"fake-cri/stop-after": "5s"})
    deaf = await client.start(sandbox, "deaf", annotations={"fake-cri/stop-after": "1h"})
    with anyio.move_on_after(1):
        await client.call("StopContainer", container_id=heeding, timeout=30)
    with anyio.move_on_after(1):
        await client.call("StopContainer", container_id=deaf, timeout=30)
    assert (await client.status(heeding)).exit_code == 143
    assert (await client.status(deaf)).state == pb.CONTAINER_RUNNING


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_a_container_never_started(profile: str) -> None:
    client = make_client(profile)
    container = await client.create(await client.run())
    await client.call("StopContainer", container_id=container, timeout=1)
    state = (await client.status(container)).state
    assert state == (pb.CONTAINER_EXITED if profile in CRI_O else pb.CONTAINER_CREATED)


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_stop_pod_sandbox(profile: str) -> None:
    client = make_client(profile)
    sandbox = await client.run()
    container = await client.start(sandbox)
    await client.call("StopPodSandbox", pod_sandbox_id=sandbox)
    assert (await client.status(container)).exit_code == (143 if profile in CRI_O else 137)
    assert (await client.sandbox_status(sandbox)).state == pb.SANDBOX_NOTREADY
    assert await client.code("StopPodSandbox", pod_sandbox_id=sandbox) is Code.OK
    assert len((await client.call("ListContainers")).containers) == 1


@in_virtual_time
async def test_remove_pod_sandbox_takes_everything_and_frees_the_names() -> None:
    client = make_client()
    sandbox = await client.run()
    await client.start(sandbox)
    await client.call("RemovePodSandbox", pod_sandbox_id=sandbox)
    assert client.runtime.snapshot() == {"sandboxes": {}, "containers": {}}
    again = await client.run()
    assert again != sandbox
    await client.start(again)


@in_virtual_time
async def test_a_name_is_taken_until_removal_not_until_stop() -> None:
    client = make_client()
    sandbox = await client.run()
    container = await client.start(sandbox)
    await client.call("StopContainer", container_id=container)
    config = container_config()
    assert await client.code("CreateContainer", pod_sandbox_id=sandbox, config=config) is Code.FAILED_PRECONDITION
    await client.call("RemoveContainer", container_id=container)
    assert await client.code("CreateContainer", pod_sandbox_id=sandbox, config=config) is Code.OK


@in_virtual_time
async def test_annotations_that_cannot_be_read_are_refused() -> None:
    client = make_client()
    sandbox = await client.run()
    client.runtime.catalogue.pull(IMAGE)
    for key, value in (
        ("fake-cri/stop-after", "soon"),
        ("fake-cri/stop-exit-code", "x"),
        ("fake-cri/exit-after", "2"),
        ("fake-cri/exit-after.main", "never"),
        ("fake-cri/exit-code", "4294967296"),
    ):
        config = container_config()
        config.annotations[key] = value
        code = await client.code("CreateContainer", pod_sandbox_id=sandbox, config=config)
        assert code is Code.INVALID_ARGUMENT
        pod = sandbox_config("other")
        pod.annotations[key] = value
        assert await client.code("RunPodSandbox", config=pod) is Code.INVALID_ARGUMENT
