"""Which events each step sends, in order, and what they carry: by runtime, as watched on real ones."""

from __future__ import annotations

import pytest

from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb
from cri.virtual_time import virtual_clock
from fake_cri.events import BufferRule, DropNewest, KeepAll, Subscription
from fake_cri.faults.events import Passing

from .support import Client, in_virtual_time, make_client, settle

WITH_EVENTS = ("containerd-1.7", "containerd-2.4", "cri-o")


class Watch:
    """Tells the events of one step by names: of the object, the event and, for containers, its state in it."""

    def __init__(self, client: Client, seen: list[pb.ContainerEventResponse]) -> None:
        self._client = client
        self._seen = seen
        self.names: dict[str, str] = {}

    async def step(self, rpc: str, **fields: object) -> list[str]:
        """Make one call; what it sent."""
        self._seen.clear()
        await self._client.code(rpc, **fields)
        await settle()
        return [self._describe(event) for event in self._seen]

    @property
    def last(self) -> list[pb.ContainerEventResponse]:
        return list(self._seen)

    def _describe(self, event: pb.ContainerEventResponse) -> str:
        kind = pb.ContainerEventType.Name(event.container_event_type).split("_")[1]
        sandbox = "-"
        if event.HasField("pod_sandbox_status"):
            sandbox = "READY" if event.pod_sandbox_status.state == pb.SANDBOX_READY else "NOTREADY"
        return f"{self.names.get(event.container_id, 'sandbox')} {kind} {sandbox}"


async def watched(client: Client, seen: list[pb.ContainerEventResponse]) -> tuple[Watch, str, str, str]:
    """A sandbox with a running container `a` and a created one `b`."""
    sandbox = await client.run()
    a, b = await client.start(sandbox, "a"), await client.create(sandbox, "b")
    await settle()
    watch = Watch(client, seen)
    watch.names = {sandbox: "sandbox", a: "a", b: "b"}
    return watch, sandbox, a, b


@pytest.mark.parametrize(
    ("profile", "wanted"),
    [
        ("containerd-2.4", ["sandbox CREATED READY", "sandbox STARTED READY"]),
        ("containerd-1.7", ["sandbox CREATED READY", "sandbox STARTED READY"]),
        ("cri-o", ["sandbox STARTED READY"]),
    ],
)
@in_virtual_time
async def test_run_pod_sandbox(profile: str, wanted: list[str]) -> None:
    client = make_client(profile)
    async with client.events() as seen:
        await client.run()
        await settle()
        assert [Watch(client, seen)._describe(event) for event in seen] == wanted
        assert all(event.container_id == event.pod_sandbox_status.id for event in seen)


@pytest.mark.parametrize("profile", WITH_EVENTS)
@in_virtual_time
async def test_a_container_from_create_to_remove(profile: str) -> None:
    client = make_client(profile)
    async with client.events() as seen:
        watch, sandbox, a, b = await watched(client, seen)
        created, started = seen[-3:-1]
        assert (created.container_event_type, started.container_event_type) == (0, pb.CONTAINER_STARTED_EVENT)
        assert [status.id for status in created.containers_statuses] == [a]
        assert started.containers_statuses[0].state == pb.CONTAINER_RUNNING

        assert await watch.step("StartContainer", container_id=b) == ["b STARTED READY"]
        assert await watch.step("StopContainer", container_id=a, timeout=3) == ["a STOPPED READY"]
        (event,) = watch.last
        states = {status.id: (status.state, status.exit_code) for status in event.containers_statuses}
        assert states == {a: (pb.CONTAINER_EXITED, 143), b: (pb.CONTAINER_RUNNING, 0)}
        assert await watch.step("StopContainer", container_id=a) == []
        assert await watch.step("RemoveContainer", container_id=a) == ["a DELETED READY"]
        assert [status.id for status in watch.last[0].containers_statuses] == [b]
        assert await watch.step("RemoveContainer", container_id=a) == []
        assert await watch.step("RemoveContainer", container_id=b) == ["b STOPPED READY", "b DELETED READY"]
        assert sandbox in client.runtime.state.sandboxes


@pytest.mark.parametrize("profile", WITH_EVENTS)
@in_virtual_time
async def test_a_container_that_never_ran(profile: str) -> None:
    client = make_client(profile)
    async with client.events() as seen:
        watch, _, _, b = await watched(client, seen)
        if profile == "cri-o":
            assert await watch.step("StopContainer", container_id=b) == ["b STOPPED READY"]
            assert await watch.step("RemoveContainer", container_id=b) == ["b DELETED READY"]
        else:
            assert await watch.step("StopContainer", container_id=b) == []
            assert await watch.step("RemoveContainer", container_id=b) == ["b DELETED READY"]


@in_virtual_time
async def test_removing_a_container_that_never_ran_ends_it_first_on_crio() -> None:
    client = make_client("cri-o")
    async with client.events() as seen:
        watch, _, _, b = await watched(client, seen)
        assert await watch.step("RemoveContainer", container_id=b) == ["b STOPPED READY", "b DELETED READY"]


@pytest.mark.parametrize("profile", WITH_EVENTS)
@in_virtual_time
async def test_a_failed_start_sends_nothing(profile: str) -> None:
    client = make_client(profile)
    async with client.events() as seen:
        watch, sandbox, _, _ = await watched(client, seen)
        broken = await client.create(sandbox, "broken", annotations={"fake-cri/start-error": "no"})
        await settle()
        assert await watch.step("StartContainer", container_id=broken) == []


#: After StopPodSandbox with `a` running and `b` created; then RemovePodSandbox.
STOP_AND_REMOVE = {
    "containerd-2.4": (
        ["a STOPPED READY", "sandbox STOPPED NOTREADY"],
        ["a DELETED NOTREADY", "b DELETED NOTREADY", "sandbox DELETED NOTREADY"],
    ),
    "containerd-1.7": (
        ["a STOPPED READY", "sandbox STOPPED NOTREADY"],
        ["a DELETED NOTREADY", "b DELETED NOTREADY", "sandbox DELETED -"],
    ),
    "cri-o": (["a STOPPED READY", "b STOPPED READY", "sandbox STOPPED NOTREADY"], []),
}


@pytest.mark.parametrize("profile", WITH_EVENTS)
@in_virtual_time
async def test_stop_and_remove_pod_sandbox(profile: str) -> None:
    client = make_client(profile)
    stopped, removed = STOP_AND_REMOVE[profile]
    async with client.events() as seen:
        watch, sandbox, _, _ = await watched(client, seen)
        assert await watch.step("StopPodSandbox", pod_sandbox_id=sandbox) == stopped
        assert await watch.step("StopPodSandbox", pod_sandbox_id=sandbox) == []
        assert await watch.step("RemovePodSandbox", pod_sandbox_id=sandbox) == removed
        assert await watch.step("RemovePodSandbox", pod_sandbox_id=sandbox) == []


@in_virtual_time
async def test_removing_a_ready_sandbox_stops_it_first() -> None:
    client = make_client("containerd-2.4")
    async with client.events() as seen:
        watch, sandbox, _, _ = await watched(client, seen)
        stopped, removed = STOP_AND_REMOVE["containerd-2.4"]
        assert await watch.step("RemovePodSandbox", pod_sandbox_id=sandbox) == stopped + removed
        assert watch.last[-1].pod_sandbox_status.created_at == -6795364578871345152  # Go's zero time, as watched


@pytest.mark.parametrize("profile", ["containerd-2.4", "cri-o"])
@in_virtual_time
async def test_whose_statuses_an_event_carries(profile: str) -> None:
    client = make_client(profile)
    old = await client.run("pod", uid="u", attempt=0)
    of_old = await client.start(old, "main")
    await client.call("StopPodSandbox", pod_sandbox_id=old)
    new = await client.run("pod", uid="u", attempt=1)
    async with client.events() as seen:
        of_new = await client.start(new, "next")
        await settle()
        carried = {status.id for status in seen[-1].containers_statuses}
    assert carried == ({of_new} if profile == "containerd-2.4" else {of_old, of_new})


@in_virtual_time
async def test_every_subscriber_gets_every_event_and_none_from_before() -> None:
    client = make_client()
    await client.run("early")
    async with client.events() as first, client.events() as second:
        await client.run("late")
        await settle()
        assert [event.pod_sandbox_status.metadata.name for event in first] == ["late", "late"]
        assert first == second
        times = [event.created_at for event in first]
        assert times == sorted(set(times))


@in_virtual_time
async def test_a_subscriber_that_left_is_forgotten() -> None:
    client = make_client()
    async with client.events():
        assert client.runtime.events.subscribers == 1
    assert client.runtime.events.subscribers == 0


@pytest.mark.parametrize(("rule", "kept", "lost"), [(KeepAll(), 5, 0), (DropNewest(3), 3, 2)])
@in_virtual_time
async def test_what_an_unread_queue_keeps(rule: BufferRule, kept: int, lost: int) -> None:
    subscription = Subscription(rule, virtual_clock())
    for number in range(5):
        subscription.push(Passing(b"%d" % number))
    subscription.end(CriError(Code.UNAVAILABLE, "gone"))
    assert [await subscription.next() for _ in range(kept)] == [b"%d" % number for number in range(kept)]
    assert subscription.lost == lost
    with pytest.raises(CriError, match="gone"):
        await subscription.next()


@pytest.mark.parametrize("profile", ["containerd-1.7", "containerd-2.4", "cri-o"])
@in_virtual_time
async def test_two_subscribers(profile: str) -> None:
    client = make_client(profile)
    async with client.events() as first, client.events() as second:
        for number in range(20):
            await client.run(f"pod-{number}")
        await settle()
    each = 20 if profile == "cri-o" else 40
    if profile == "containerd-1.7":  # they take events from each other, and none gets lost
        assert len(first) == len(second) == each // 2
        assert not {event.created_at for event in first} & {event.created_at for event in second}
    else:
        assert first == second
        assert len(first) == each


@in_virtual_time
async def test_a_subscriber_that_left_takes_no_turn() -> None:
    client = make_client("containerd-1.7")
    async with client.events() as staying:
        async with client.events():
            await client.run("both")
        await client.run("alone")
        await settle()
        assert [event.pod_sandbox_status.metadata.name for event in staying].count("alone") == 2


@in_virtual_time
async def test_open_streams_end_when_the_runtime_goes_down() -> None:
    client = make_client()
    await client.run()
    client.runtime.events.close()
    with pytest.raises(CriError) as caught:
        await client.stream("GetContainerEvents")
    assert caught.value.code is Code.UNAVAILABLE


@in_virtual_time
async def test_a_runtime_without_events() -> None:
    with pytest.raises(CriError) as caught:
        await make_client("containerd-1.6").stream("GetContainerEvents")
    assert caught.value.code is Code.UNIMPLEMENTED
    assert await make_client("cri-o-noevents").stream("GetContainerEvents") == []
