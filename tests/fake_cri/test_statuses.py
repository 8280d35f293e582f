"""Statuses: times, exit codes, reasons, addresses, and what crictl reads of them."""

from __future__ import annotations

import json

import anyio
import pytest

from cri.clock import SECOND
from cri.v1 import api_pb2 as pb

from .support import CRI_O, IMAGE, PROFILES, Client, in_virtual_time, make_client


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_a_containers_life_in_its_status(profile: str) -> None:
    client = make_client(profile)
    clock = client.runtime.clock
    sandbox = await client.run()
    container = await client.create(sandbox)
    created = await client.status(container)
    assert (created.state, created.reason, created.exit_code) == (pb.CONTAINER_CREATED, "", 0)
    assert (created.created_at, created.started_at, created.finished_at) == (clock.now(), 0, 0)

    await anyio.sleep(1)
    await client.call("StartContainer", container_id=container)
    running = await client.status(container)
    assert (running.state, running.reason) == (pb.CONTAINER_RUNNING, "")
    assert (running.started_at, running.finished_at) == (created.created_at + SECOND, 0)

    await anyio.sleep(2)
    (found,) = client.runtime.state.containers
    client.runtime.state.end_container(found, 0)
    ended = await client.status(container)
    assert (ended.state, ended.reason, ended.exit_code) == (pb.CONTAINER_EXITED, "Completed", 0)
    assert ended.finished_at == running.started_at + 2 * SECOND
    assert ended.log_path == "/var/log/pods/ns_pod_uid-of-pod/main/0.log"


@pytest.mark.parametrize(
    ("exit_code", "oom", "reason"), [(0, False, "Completed"), (3, False, "Error"), (137, True, "OOMKilled")]
)
@in_virtual_time
async def test_reasons(exit_code: int, oom: bool, reason: str) -> None:
    client = make_client()
    container = await client.start(await client.run())
    (found,) = client.runtime.state.containers
    client.runtime.state.end_container(found, exit_code, oom_killed=oom)
    status = await client.status(container)
    assert (status.exit_code, status.reason) == (exit_code, reason)


@in_virtual_time
async def test_an_end_is_final() -> None:
    client = make_client()
    container = await client.start(await client.run())
    (found,) = client.runtime.state.containers
    client.runtime.state.end_container(found, 3)
    before = await client.status(container)
    await anyio.sleep(1)
    client.runtime.state.end_container(found, 0)
    assert await client.status(container) == before


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_addresses(profile: str) -> None:
    client = make_client(profile)
    pods = [await client.run(f"pod-{number}") for number in range(3)]
    addresses = [(await client.sandbox_status(pod)).network.ip for pod in pods]
    assert len(set(addresses)) == 3
    assert "" not in addresses
    assert (await client.sandbox_status(await client.run("host", host_network=True))).network.ip == ""
    await client.call("StopPodSandbox", pod_sandbox_id=pods[0])
    assert (await client.sandbox_status(pods[0])).network.ip == (addresses[0] if profile in CRI_O else "")


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_what_comes_beside_a_sandbox_status(profile: str) -> None:
    client = make_client(profile)
    sandbox = await client.run()
    container = await client.start(sandbox)
    answer = await client.call("PodSandboxStatus", pod_sandbox_id=sandbox)
    if profile == "cri-o":
        assert [status.id for status in answer.containers_statuses] == [container]
        assert answer.timestamp == client.runtime.clock.now()
    else:
        assert len(answer.containers_statuses) == answer.timestamp == 0


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_pod_labels_that_a_client_left_out(profile: str) -> None:
    client = make_client(profile)
    config = pb.PodSandboxConfig(metadata=pb.PodSandboxMetadata(name="n", namespace="s", uid="u"))
    answer = await client.call("RunPodSandbox", config=config)
    labels = dict((await client.sandbox_status(answer.pod_sandbox_id)).labels)
    kubernetes = {f"io.kubernetes.pod.{key}": value for key, value in (("name", "n"), ("namespace", "s"), ("uid", "u"))}
    assert labels == (kubernetes if profile in CRI_O else {})


@in_virtual_time
async def test_statuses_by_prefix() -> None:
    client = make_client()
    sandbox = await client.run()
    container = await client.start(sandbox)
    assert (await client.sandbox_status(sandbox[:5])).id == sandbox
    assert (await client.status(container[:5])).id == container


@in_virtual_time
async def test_resources_are_remembered() -> None:
    client = make_client()
    container = await client.start(await client.run())
    wanted = pb.LinuxContainerResources(memory_limit_in_bytes=1 << 20, cpu_shares=7)
    await client.call("UpdateContainerResources", container_id=container, linux=wanted)
    await client.call("UpdateContainerResources", container_id=container, linux={"cpu_shares": 9})
    linux = (await client.status(container)).resources.linux
    assert (linux.memory_limit_in_bytes, linux.cpu_shares) == (1 << 20, 9)


@in_virtual_time
async def test_what_crictl_inspects() -> None:
    client = make_client()
    sandbox = await client.run()
    container = await client.start(sandbox)
    quiet = await client.call("ContainerStatus", container_id=container)
    verbose = await client.call("ContainerStatus", container_id=container, verbose=True)
    assert dict(quiet.info) == {}
    info = json.loads(verbose.info["info"])
    assert (info["sandboxID"], info["runtimeSpec"]["process"]["args"]) == (sandbox, ["/bin/app"])
    assert info["pid"] > 0
    assert info["config"]["metadata"]["name"] == "main"
    pod = json.loads((await client.call("PodSandboxStatus", pod_sandbox_id=sandbox, verbose=True)).info["info"])
    assert (pod["processStatus"], pod["config"]["hostname"]) == ("running", "pod")
    node = await client.call("Status", verbose=True)
    assert json.loads(node.info["config"])["cgroupDriver"] == "CGROUPFS"
    await client.call("PullImage", image=pb.ImageSpec(image=IMAGE))
    image = await client.call("ImageStatus", image=pb.ImageSpec(image=IMAGE), verbose=True)
    assert json.loads(image.info["info"])["imageSpec"]["os"] == "linux"


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_the_runtime_introduces_itself(profile: str) -> None:
    client = make_client(profile)
    version = await client.call("Version", version="v1")
    assert (version.version, version.runtime_api_version) == ("0.1.0", "v1")
    assert version.runtime_name == ("cri-o" if profile in CRI_O else "containerd")
    status = await client.call("Status")
    assert {condition.type: condition.status for condition in status.status.conditions} == {
        "RuntimeReady": True,
        "NetworkReady": True,
    }
    handlers = [handler.name for handler in status.runtime_handlers]
    assert handlers == ([] if profile == "containerd-1.6" else ["", "runc"])
    if profile != "containerd-1.6":
        assert (await client.call("RuntimeConfig")).linux.cgroup_driver == pb.CGROUPFS


@in_virtual_time
async def test_a_pod_cidr_is_remembered() -> None:
    client = make_client()
    config = pb.RuntimeConfig(network_config=pb.NetworkConfig(pod_cidr="10.1.0.0/24"))
    await client.call("UpdateRuntimeConfig", runtime_config=config)
    assert json.loads((await client.call("Status", verbose=True)).info["config"])["podCIDR"] == "10.1.0.0/24"


@in_virtual_time
async def test_fields_that_containerd_1_6_does_not_know() -> None:
    old, new = make_client("containerd-1.6"), make_client("containerd-2.4")

    async def known(client: Client) -> dict[str, bool]:
        status = await client.status(await client.start(await client.run()))
        return {
            "image_id": bool(status.image_id),
            "user": status.HasField("user"),
            "signal": status.stop_signal == pb.SIGNAL_SIGTERM,
        }

    assert not any((await known(old)).values())
    assert all((await known(new)).values())
