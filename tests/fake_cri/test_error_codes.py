"""The code of every case, by runtime."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from cri.methods import METHODS
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb

from .support import (
    CONTAINERD,
    CRI_O,
    IMAGE,
    NO_SUCH_ID,
    PROFILES,
    Client,
    container_config,
    in_virtual_time,
    make_client,
    sandbox_config,
)

Case = Callable[[Client], Awaitable[Code]]


def of(rpc: str, **fields: object) -> Case:
    return lambda client: client.code(rpc, **fields)


async def start_running(client: Client) -> Code:
    return await client.code("StartContainer", container_id=await client.start(await client.run()))


async def start_exited(client: Client) -> Code:
    container = await client.start(await client.run())
    await client.call("StopContainer", container_id=container)
    return await client.code("StartContainer", container_id=container)


async def create_in_stopped_sandbox(client: Client) -> Code:
    sandbox = await client.run()
    await client.call("StopPodSandbox", pod_sandbox_id=sandbox)
    client.runtime.catalogue.pull(IMAGE)
    return await client.code("CreateContainer", pod_sandbox_id=sandbox, config=container_config())


async def create_without_image(client: Client) -> Code:
    config = container_config(image="shop.example/absent")
    return await client.code("CreateContainer", pod_sandbox_id=await client.run(), config=config)


async def same_sandbox(client: Client) -> Code:
    await client.run()
    return await client.code("RunPodSandbox", config=sandbox_config())


async def same_container(client: Client) -> Code:
    sandbox = await client.run()
    await client.create(sandbox)
    return await client.code("CreateContainer", pod_sandbox_id=sandbox, config=container_config())


async def update_exited(client: Client) -> Code:
    container = await client.start(await client.run())
    await client.call("StopContainer", container_id=container)
    return await client.code("UpdateContainerResources", container_id=container)


async def reopen_log_of_created(client: Client) -> Code:
    return await client.code("ReopenContainerLog", container_id=await client.create(await client.run()))


async def reopen_log_of_running(client: Client) -> Code:
    return await client.code("ReopenContainerLog", container_id=await client.start(await client.run()))


async def missing_command(client: Client) -> Code:
    container = await client.create(await client.run(), annotations={"fake-cri/missing-command": "nope"})
    return await client.code("StartContainer", container_id=container)


#: Case: what containerd answers, what CRI-O answers.
TABLE: dict[str, tuple[Case, Code, Code]] = {
    "status of an unknown sandbox": (
        of("PodSandboxStatus", pod_sandbox_id=NO_SUCH_ID),
        Code.NOT_FOUND,
        Code.NOT_FOUND,
    ),
    "status of an unknown container": (
        of("ContainerStatus", container_id=NO_SUCH_ID),
        Code.NOT_FOUND,
        Code.NOT_FOUND,
    ),
    "start of an unknown container": (of("StartContainer", container_id=NO_SUCH_ID), Code.NOT_FOUND, Code.NOT_FOUND),
    "stop of an unknown sandbox": (of("StopPodSandbox", pod_sandbox_id=NO_SUCH_ID), Code.OK, Code.OK),
    "stop of an unknown container": (of("StopContainer", container_id=NO_SUCH_ID), Code.OK, Code.OK),
    "removal of an unknown sandbox": (of("RemovePodSandbox", pod_sandbox_id=NO_SUCH_ID), Code.OK, Code.OK),
    "removal of an unknown container": (of("RemoveContainer", container_id=NO_SUCH_ID), Code.OK, Code.OK),
    "update of an unknown container": (
        of("UpdateContainerResources", container_id=NO_SUCH_ID),
        Code.NOT_FOUND,
        Code.UNKNOWN,
    ),
    "log of an unknown container": (of("ReopenContainerLog", container_id=NO_SUCH_ID), Code.NOT_FOUND, Code.UNKNOWN),
    "create in an unknown sandbox": (
        of("CreateContainer", pod_sandbox_id=NO_SUCH_ID, config=container_config()),
        Code.NOT_FOUND,
        Code.UNKNOWN,
    ),
    "status of the empty sandbox id": (of("PodSandboxStatus"), Code.UNKNOWN, Code.NOT_FOUND),
    "stop of the empty sandbox id": (of("StopPodSandbox"), Code.UNKNOWN, Code.NOT_FOUND),
    "removal of the empty sandbox id": (of("RemovePodSandbox"), Code.UNKNOWN, Code.NOT_FOUND),
    "stop of the empty container id": (of("StopContainer"), Code.UNKNOWN, Code.NOT_FOUND),
    "removal of the empty container id": (of("RemoveContainer"), Code.UNKNOWN, Code.NOT_FOUND),
    "unknown runtime handler": (
        of("RunPodSandbox", config=sandbox_config(), runtime_handler="other"),
        Code.UNKNOWN,
        Code.UNKNOWN,
    ),
    "known runtime handler": (
        of("RunPodSandbox", config=sandbox_config(), runtime_handler="runc"),
        Code.OK,
        Code.OK,
    ),
    "sandbox without metadata": (of("RunPodSandbox"), Code.UNKNOWN, Code.UNKNOWN),
    "start of a running container": (start_running, Code.UNKNOWN, Code.UNKNOWN),
    "start of an exited container": (start_exited, Code.UNKNOWN, Code.UNKNOWN),
    "create in a stopped sandbox": (create_in_stopped_sandbox, Code.UNKNOWN, Code.UNKNOWN),
    "create without its image": (create_without_image, Code.NOT_FOUND, Code.UNKNOWN),
    "a second sandbox of one name": (same_sandbox, Code.FAILED_PRECONDITION, Code.OK),
    "a second container of one name": (same_container, Code.FAILED_PRECONDITION, Code.OK),
    "update of an exited container": (update_exited, Code.OK, Code.UNKNOWN),
    "log of a created container": (reopen_log_of_created, Code.UNKNOWN, Code.UNKNOWN),
    "log of a running container": (reopen_log_of_running, Code.OK, Code.OK),
    "malformed image name": (
        of("PullImage", image=pb.ImageSpec(image="No Name")),
        Code.INVALID_ARGUMENT,
        Code.INVALID_ARGUMENT,
    ),
    "status of an unknown image": (of("ImageStatus", image=pb.ImageSpec(image="absent")), Code.OK, Code.OK),
    "removal of an unknown image": (of("RemoveImage", image=pb.ImageSpec(image="absent")), Code.OK, Code.OK),
    "runtime configuration": (of("RuntimeConfig"), Code.OK, Code.OK),
    "an rpc that nobody built": (of("ExecSync", container_id=NO_SUCH_ID), Code.UNIMPLEMENTED, Code.UNIMPLEMENTED),
}

#: Where one version differs from its family.
EXCEPTIONS: dict[tuple[str, str], Code] = {
    ("containerd-1.6", "stop of an unknown sandbox"): Code.NOT_FOUND,
    ("containerd-1.6", "stop of an unknown container"): Code.NOT_FOUND,
    ("containerd-1.6", "create in a stopped sandbox"): Code.NOT_FOUND,
    ("containerd-1.6", "a second sandbox of one name"): Code.UNKNOWN,
    ("containerd-1.6", "a second container of one name"): Code.UNKNOWN,
    ("containerd-1.6", "runtime configuration"): Code.UNIMPLEMENTED,
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", TABLE)
@in_virtual_time
async def test_code(profile: str, case: str) -> None:
    run, containerd, crio = TABLE[case]
    wanted = EXCEPTIONS.get((profile, case), crio if profile in CRI_O else containerd)
    assert await run(make_client(profile)) is wanted


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_an_ambiguous_prefix_is_never_not_found_on_containerd(profile: str) -> None:
    client = make_client(profile)
    sandboxes = [await client.run(f"pod-{number}") for number in range(17)]  # of 17, two share a first digit
    containers = [await client.start(sandbox) for sandbox in sandboxes]

    def shared(ids: list[str]) -> str:
        return next(i[0] for n, i in enumerate(ids) if any(other[0] == i[0] for other in ids[:n]))

    sandbox_code = await client.code("StopPodSandbox", pod_sandbox_id=shared(sandboxes))
    container_code = await client.code("RemoveContainer", container_id=shared(containers))
    assert sandbox_code is Code.UNKNOWN
    assert container_code is (Code.UNKNOWN if profile in CONTAINERD else Code.NOT_FOUND)
    assert len(client.runtime.state.containers) == 17


@pytest.mark.parametrize("profile", CONTAINERD)
@in_virtual_time
async def test_a_missing_command_fails_the_start_and_leaves_a_body_on_containerd(profile: str) -> None:
    client = make_client(profile)
    assert await missing_command(client) is Code.UNKNOWN
    (container,) = client.runtime.state.containers
    status = await client.status(container.id)
    assert (status.state, status.exit_code, status.reason) == (pb.CONTAINER_EXITED, 128, "StartError")
    assert status.started_at == 0 < status.finished_at
    assert '"nope": executable file not found' in status.message


@pytest.mark.parametrize("profile", CRI_O)
@in_virtual_time
async def test_a_missing_command_fails_the_create_on_crio(profile: str) -> None:
    client = make_client(profile)
    with pytest.raises(CriError, match="nope"):
        await missing_command(client)
    assert len(client.runtime.state.containers) == 0


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_a_failed_start_leaves_a_body_or_none(profile: str) -> None:
    client = make_client(profile)
    container = await client.create(await client.run(), annotations={"fake-cri/start-error": "no space"})
    assert await client.code("StartContainer", container_id=container) is Code.UNKNOWN
    kept = await client.code("ContainerStatus", container_id=container)
    assert kept is (Code.OK if profile in CONTAINERD else Code.NOT_FOUND)


@in_virtual_time
async def test_what_is_not_built_names_itself() -> None:
    runtime = make_client().runtime
    for rpc in ("ExecSync", "CheckpointPod", "ListContainerStats"):
        with pytest.raises(CriError) as caught:
            await runtime.unary(METHODS[rpc], b"")
        assert str(caught.value) == (
            f"rpc error: code = Unimplemented desc = unknown method {rpc} for service runtime.v1.RuntimeService"
        )
    with pytest.raises(CriError, match="StreamContainerStats"):
        await anext(runtime.stream(METHODS["StreamContainerStats"], b""))


@in_virtual_time
async def test_bytes_that_are_no_request_are_an_internal_error() -> None:
    runtime = make_client().runtime
    for rpc in ("ListContainers", "RunPodSandbox", "PullImage"):
        with pytest.raises(CriError) as caught:
            await runtime.unary(METHODS[rpc], b"\xff\xff")
        assert caught.value.code is Code.INTERNAL
    with pytest.raises(CriError, match="error unmarshalling request"):
        await anext(runtime.stream(METHODS["StreamContainers"], b"\x0a\xff"))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda c: c.linux.security_context.run_as_group.SetInParent(), "runAsGroup"),
        (lambda c: c.mounts.add(container_path="/v", recursive_read_only=True), "recursive_read_only"),
        (lambda c: c.mounts.add(container_path="/v", image=pb.ImageSpec(image=IMAGE)), "readonly"),
    ],
)
@in_virtual_time
async def test_what_nobody_would_create_is_refused(change: Callable[[pb.ContainerConfig], None], word: str) -> None:
    client = make_client()
    sandbox = await client.run()
    client.runtime.catalogue.pull(IMAGE)
    config = container_config()
    change(config)
    with pytest.raises(CriError, match=word):
        await client.call("CreateContainer", pod_sandbox_id=sandbox, config=config)
