"""Lists: filters by presence, id prefixes, order, chunks, and entries as large as a kubelet's."""

from __future__ import annotations

from typing import Any

import pytest

from cri.clock import Clock
from cri.methods import METHODS
from cri.v1 import api_pb2 as pb
from fake_cri.profiles import load_profile
from fake_cri.runtime import FakeRuntime
from fake_cri.workload import Workload

from .support import NO_SUCH_ID, PROFILES, Client, in_virtual_time, make_client, make_runtime, profile_named, serialized


async def two_pods(client: Client) -> tuple[list[str], list[str]]:
    """A ready pod with a running and a created container, a stopped one with an exited container."""
    ready, stopped = await client.run("ready"), await client.run("stopped")
    containers = [await client.start(ready, "a"), await client.create(ready, "b"), await client.start(stopped, "c")]
    await client.call("StopPodSandbox", pod_sandbox_id=stopped)
    return [ready, stopped], containers


async def listed(client: Client, rpc: str, **wanted: Any) -> set[str]:
    """The ids of a list and of its streamed twin, which must agree."""
    answer = await client.call(rpc, filter=wanted) if wanted else await client.call(rpc)
    items = answer.items if rpc == "ListPodSandbox" else answer.containers
    twin = "StreamPodSandboxes" if rpc == "ListPodSandbox" else "StreamContainers"
    if twin not in client.runtime.profile.unimplemented:
        parts = await client.stream(twin, **({"filter": wanted} if wanted else {}))
        assert {item.id for part in parts for item in getattr(part, part.DESCRIPTOR.fields[0].name)} == {
            item.id for item in items
        }
    return {item.id for item in items}


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_sandbox_filters(profile: str) -> None:
    client = make_client(profile)
    (ready, stopped), _ = await two_pods(client)
    rpc = "ListPodSandbox"
    assert await listed(client, rpc) == {ready, stopped}
    assert await listed(client, rpc, state=pb.PodSandboxStateValue()) == {ready}  # READY is 0: presence counts
    assert await listed(client, rpc, state=pb.PodSandboxStateValue(state=pb.SANDBOX_NOTREADY)) == {stopped}
    assert await listed(client, rpc, id=ready) == await listed(client, rpc, id=ready[:10]) == {ready}
    assert await listed(client, rpc, id=NO_SUCH_ID) == set()
    assert await listed(client, rpc, label_selector={"app": "stopped"}) == {stopped}
    assert await listed(client, rpc, label_selector={"app": "stopped", "other": ""}) == set()
    assert await listed(client, rpc, id=ready, label_selector={"app": "stopped"}) == set()
    empty = await client.call(rpc, filter=pb.PodSandboxFilter())
    assert len(empty.items) == 2


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_container_filters(profile: str) -> None:
    client = make_client(profile)
    (ready, stopped), (a, b, c) = await two_pods(client)
    rpc = "ListContainers"
    assert await listed(client, rpc) == {a, b, c}
    assert await listed(client, rpc, state=pb.ContainerStateValue()) == {b}  # CREATED is 0: presence counts
    assert await listed(client, rpc, state=pb.ContainerStateValue(state=pb.CONTAINER_RUNNING)) == {a}
    assert await listed(client, rpc, state=pb.ContainerStateValue(state=pb.CONTAINER_EXITED)) == {c}
    assert await listed(client, rpc, id=b[:12]) == {b}
    assert await listed(client, rpc, pod_sandbox_id=ready[:12]) == {a, b}
    assert await listed(client, rpc, pod_sandbox_id=ready, id=c) == set()
    assert await listed(client, rpc, pod_sandbox_id=NO_SUCH_ID) == set()
    assert await listed(client, rpc, id=NO_SUCH_ID) == set()
    assert await listed(client, rpc, label_selector={"io.kubernetes.pod.uid": "uid-of-stopped"}) == {c}
    assert await listed(client, rpc, label_selector={"io.kubernetes.container.name": "b"}) == {b}
    running = pb.ContainerStateValue(state=pb.CONTAINER_RUNNING)
    assert await listed(client, rpc, state=running, label_selector={"io.kubernetes.pod.uid": "uid-of-stopped"}) == set()
    assert stopped in {container.sandbox.id for container in client.runtime.state.containers}


@in_virtual_time
async def test_an_ambiguous_prefix_in_a_filter_finds_nothing() -> None:
    client = make_client()
    for number in range(17):
        await client.run(f"pod-{number}")
    first_digits = [sandbox.id[0] for sandbox in client.runtime.state.sandboxes]
    shared = next(digit for digit in first_digits if first_digits.count(digit) > 1)
    assert await listed(client, "ListPodSandbox", id=shared) == set()
    assert await listed(client, "ListContainers", pod_sandbox_id=shared) == set()


@in_virtual_time
async def test_an_entry_says_what_was_asked_for() -> None:
    client = make_client()
    sandbox = await client.run()
    container = await client.start(sandbox)
    (item,) = (await client.call("ListPodSandbox")).items
    assert (item.id, item.metadata.name, item.state) == (sandbox, "pod", pb.SANDBOX_READY)
    assert (dict(item.annotations), item.labels["app"]) == ({"note": "kept"}, "pod")
    (entry,) = (await client.call("ListContainers")).containers
    status = await client.status(container)
    assert (entry.id, entry.pod_sandbox_id, entry.state) == (container, sandbox, pb.CONTAINER_RUNNING)
    assert (entry.labels, entry.annotations, entry.metadata) == (status.labels, status.annotations, status.metadata)
    assert entry.image_id == entry.image_ref == status.image_id
    assert entry.created_at == status.created_at > 0


@in_virtual_time
async def test_a_container_that_ends_keeps_the_length_of_its_entry() -> None:
    client = make_client()
    container = await client.start(await client.run())
    before = await client.runtime.unary(METHODS["ListContainers"], b"")
    await client.call("StopContainer", container_id=container)
    after = await client.runtime.unary(METHODS["ListContainers"], b"")
    assert len(before) == len(after)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("pods", [20, 300])
@in_virtual_time
async def test_order_and_bytes_of_equal_lists(profile: str, pods: int) -> None:
    runtime = make_runtime(profile)
    Workload(runtime, pods=pods, containers=1).populate()
    answers = [await runtime.unary(METHODS["ListPodSandbox"], b"") for _ in range(4)]
    orders = [[item.id for item in pb.ListPodSandboxResponse.FromString(answer).items] for answer in answers]
    created = [sandbox.id for sandbox in runtime.state.sandboxes]
    assert len(set(answers)) == 4  # maps are written in random order
    assert all(sorted(order) == sorted(created) for order in orders)
    if profile.startswith("cri-o"):
        assert all(order == created[::-1] for order in orders)
    else:
        assert len({tuple(order) for order in orders}) == 4
    contents = {
        tuple(sorted(serialized(item) for item in pb.ListPodSandboxResponse.FromString(answer).items))
        for answer in answers
    }
    assert len(contents) == 1


@in_virtual_time
async def test_a_profile_may_fix_order_and_bytes() -> None:
    profile = load_profile("containerd-2.4")
    lists = profile.lists.model_copy(update={"order": "creation", "map_order": "fixed"})
    runtime = FakeRuntime(profile.model_copy(update={"lists": lists}), clock=make_runtime().clock)
    Workload(runtime, pods=20, containers=1).populate()
    first, second = [await runtime.unary(METHODS["ListContainers"], b"") for _ in range(2)]
    assert first == second
    order = [item.id for item in pb.ListContainersResponse.FromString(first).containers]
    assert order == [container.id for container in runtime.state.containers]


@in_virtual_time
async def test_streamed_lists_come_in_chunks() -> None:
    sizes = {name: profile_named(name).lists.stream_chunk for name in ("containerd-2.4", "cri-o")}
    assert sizes == {"containerd-2.4": 5000, "cri-o": 3000}
    profile = profile_named("containerd-2.4")
    lists = profile.lists.model_copy(update={"stream_chunk": 50})
    client = Client(FakeRuntime(profile.model_copy(update={"lists": lists}), clock=make_runtime().clock))
    assert await client.stream("StreamContainers") == []  # nothing is no message at all
    Workload(client.runtime, pods=12, containers=10).populate()
    parts = await client.stream("StreamContainers")
    assert [len(part.containers) for part in parts] == [50, 50, 20]
    assert len({item.id for part in parts for item in part.containers}) == 120


@in_virtual_time
async def test_entries_are_as_large_as_a_kubelets_own() -> None:
    runtime = make_runtime()
    Workload(runtime, pods=50, containers=2).populate()
    sandboxes = pb.ListPodSandboxResponse.FromString(await runtime.unary(METHODS["ListPodSandbox"], b"")).items
    containers = pb.ListContainersResponse.FromString(await runtime.unary(METHODS["ListContainers"], b"")).containers
    assert {item.ByteSize() for item in sandboxes} <= set(range(419, 446))  # 432, and 3 % either way
    assert {item.ByteSize() for item in containers} <= set(range(809, 860))  # 834
    status = await Client(runtime).status(containers[0].id)
    assert 900 <= status.ByteSize() <= 1100


def test_a_list_after_a_change_is_never_an_old_one() -> None:
    runtime = FakeRuntime(load_profile("containerd-2.4"), clock=Clock.real())
    workload = Workload(runtime, pods=40, containers=2)
    workload.populate()
    state = runtime.state
    for container in list(state.containers)[::7]:
        state.end_container(container, 1)
        entries = pb.ListContainersResponse.FromString(state.container_entries.all()).containers
        assert {entry.id: entry.state for entry in entries} == {c.id: c.state for c in state.containers}
        state.remove_container(container)
        entries = pb.ListContainersResponse.FromString(state.container_entries.all()).containers
        assert {entry.id for entry in entries} == {c.id for c in state.containers}
