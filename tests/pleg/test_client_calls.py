"""What the client tells of its calls, the runtime's Status, and the event stream as messages."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from cri.clock import MILLISECOND, MINUTE, SECOND
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as cri
from pleg.pods import Call, ContainerEvent, ContainerEventType, RuntimeCondition
from pleg.runtime.convert import MalformedAnswer
from pleg.runtime.inventory import Inventory
from tests.pleg.support import Bench, virtual

#: What a PLEG, housekeeping and the status poll may call: nothing of it changes anything.
READS = {"ListPodSandbox", "ListContainers", "PodSandboxStatus", "ContainerStatus", "Status", "GetContainerEvents"}


def ended(bench: Bench) -> list[tuple[Call, int, Exception | None, int, int, int]]:
    return bench.hooks.of("call_ended")


# --- hooks ---------------------------------------------------------------------------------------------------


@virtual
async def test_each_call_is_told_when_it_leaves_and_when_it_is_over() -> None:
    bench = Bench()
    bench.runtime.sandbox("s1", "1234")
    bench.runtime.container("c1", "1234", sandbox="s1")
    bench.runtime.container("c2", "1234", sandbox="s1")
    bench.runtime.delays["ListContainers"] = 40 * MILLISECOND
    await bench.relist()
    started = bench.hooks.of("call_started")
    assert [call.rpc for call in started] == [
        "ListPodSandbox",
        "ListContainers",
        "PodSandboxStatus",
        "ContainerStatus",
        "ContainerStatus",
    ]
    assert all(begun is over[0] for begun, over in zip(started, ended(bench), strict=True)), "the same object"
    assert [over[1] for over in ended(bench)] == [ms * MILLISECOND for ms in (1, 40, 1, 1, 1)]
    assert [over[2] for over in ended(bench)] == [None] * 5
    assert [over[5] for over in ended(bench)] == [1, 2, 0, 0, 0], "listed objects"
    assert {call.caller for call in started} == {"pleg"}
    assert [call.since - started[0].since for call in started] == [ms * MILLISECOND for ms in (0, 1, 41, 42, 43)]
    assert [(call.pod, call.container) for call in started[2:]] == [
        ("default/pod-1234", ""),
        ("default/pod-1234", "name-c1"),
        ("default/pod-1234", "name-c2"),
    ]


@virtual
async def test_the_bytes_of_a_call_are_those_of_its_messages() -> None:
    bench = Bench()
    bench.runtime.sandbox("s1", "1234")
    await bench.client.list_pods(Inventory())
    request = cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter()).SerializeToString()
    answer = cri.ListPodSandboxResponse(items=[bench.runtime.sandboxes["s1"]]).SerializeToString()
    assert ended(bench)[0][3:5] == (len(request), len(answer))
    assert ended(bench)[1][4] == 0


@virtual
async def test_a_failed_call_is_told_with_its_error_and_so_is_a_malformed_answer() -> None:
    bench = Bench()
    bench.runtime.fail("ListPodSandbox", Code.UNAVAILABLE, "gone", times=1)
    with pytest.raises(CriError):
        await bench.client.list_pods(Inventory())
    bench.runtime.answer("ListPodSandbox", b"\x0a\x7f", times=1)
    with pytest.raises(CriError):
        await bench.client.list_pods(Inventory())
    errors = [over[2] for over in ended(bench)]
    assert [error.code for error in errors if isinstance(error, CriError)] == [Code.UNAVAILABLE, Code.INTERNAL]


@virtual
async def test_a_call_cut_off_with_its_task_is_over_as_cancelled() -> None:
    bench = Bench()
    bench.runtime.hang("ListPodSandbox")
    with anyio.move_on_after(1):
        await bench.client.list_pods(Inventory())
    [(call, duration, error, *_)] = ended(bench)
    assert (call.rpc, duration) == ("ListPodSandbox", SECOND)
    assert isinstance(error, CriError)
    assert error.code is Code.CANCELLED


@virtual
async def test_a_hung_call_is_started_and_not_over() -> None:
    bench = Bench()
    bench.runtime.hang("ListPodSandbox")
    async with bench.running():
        await bench.until(MINUTE)
        assert [call.rpc for call in bench.hooks.of("call_started")] == ["ListPodSandbox"]
        assert ended(bench) == []


@virtual
async def test_calls_are_told_with_who_made_them() -> None:
    bench = Bench()
    await bench.client.on_behalf_of("housekeeping").list_pods(Inventory())
    await bench.client.list_pods(Inventory())
    assert [call.caller for call in bench.hooks.of("call_started")] == ["housekeeping"] * 2 + ["pleg"] * 2


# --- Status --------------------------------------------------------------------------------------------------


@virtual
async def test_the_runtimes_conditions() -> None:
    bench = Bench()
    bench.runtime.status.status.conditions[1].MergeFrom(
        cri.RuntimeCondition(status=False, reason="NetworkPluginNotReady", message="no CNI")
    )
    bench.runtime.status.status.conditions[1].status = False
    assert await bench.client.runtime_status() == (
        RuntimeCondition("RuntimeReady", True),
        RuntimeCondition("NetworkReady", False, "NetworkPluginNotReady", "no CNI"),
    )


@pytest.mark.parametrize("conditions", [None, 0, 1])
@virtual
async def test_a_status_without_both_conditions_is_refused_in_the_clients_words(conditions: int | None) -> None:
    """`statusV1` of cri-client: so one that says RuntimeReady alone ends as `container runtime is down`."""
    bench = Bench()
    answer = cri.StatusResponse()
    if conditions is not None:
        answer.status.SetInParent()
    for _ in range(conditions or 0):
        answer.status.conditions.add(type="RuntimeReady", status=True)
    bench.runtime.answer("Status", answer)
    with pytest.raises(MalformedAnswer, match=r"^RuntimeReady or NetworkReady condition are not set$"):
        await bench.client.runtime_status()


# --- the event stream ----------------------------------------------------------------------------------------


async def receive(bench: Bench, *messages: bytes) -> list[ContainerEvent]:
    events = []
    async with bench.client.container_events() as stream:
        bench.runtime.streams[-1].push(*messages)
        bench.runtime.streams[-1].end()
        events += [event async for event in stream]
    return events


@virtual
async def test_an_event_carries_the_pod_status_that_generate_pod_status_makes() -> None:
    bench = Bench()
    bench.runtime.sandbox("s1", "1234", ip="10.0.0.1")
    bench.runtime.container("old", "1234", "exited", sandbox="s1", age=9)
    bench.runtime.container("new", "1234", sandbox="s1", age=1)
    [event] = await receive(bench, bench.runtime.event("stopped", "old", "s1", created_at=42))
    assert (event.container_id, event.type, event.created_at) == ("old", ContainerEventType.STOPPED, 42)
    assert event.sandbox_id == "s1"
    status = event.status
    assert status is not None
    assert (status.uid, status.name, status.namespace) == ("1234", "pod-1234", "default")
    assert status.ips == ("10.0.0.1",)
    assert [c.id for c in status.containers] == ["new", "old"], "newest first"
    assert [s.id for s in status.sandboxes] == ["s1"], "the event's alone"
    assert (status.timestamp, status.active_containers) == (0, ()), "left as they are"


@virtual
async def test_created_is_zero_on_the_wire() -> None:
    bench = Bench()
    bench.runtime.sandbox("s1", "1234")
    [event] = await receive(bench, bench.runtime.event("created", "c1", "s1"))
    assert event.type is ContainerEventType.CREATED


@virtual
async def test_an_event_without_sandbox_status_or_its_metadata_has_no_pod_status() -> None:
    bench = Bench()
    bench.runtime.sandbox("s1", "1234")
    bare = bench.runtime.event("deleted", "s2", "s2")
    headless = cri.ContainerEventResponse.FromString(bench.runtime.event("deleted", "s1", "s1"))
    headless.pod_sandbox_status.ClearField("metadata")
    events = await receive(bench, bare, headless.SerializeToString())
    assert [event.status for event in events] == [None, None]


@virtual
async def test_an_event_of_a_kind_that_nobody_knows_keeps_its_number() -> None:
    bench = Bench()
    bench.runtime.sandbox("s1", "1234")
    strange: Any = cri.ContainerEventResponse.FromString(bench.runtime.event("created", "c1", "s1"))
    strange.container_event_type = 9
    [event] = await receive(bench, strange.SerializeToString())
    assert event.type == 9


@virtual
async def test_a_torn_event_ends_the_stream() -> None:
    bench = Bench()
    with pytest.raises(CriError, match="failed to unmarshal"):
        await receive(bench, b"\x0a\x7f")


@virtual
async def test_the_stream_has_no_deadline_and_is_one_call_as_long_as_it_lasts() -> None:
    bench = Bench()
    bench.runtime.sandbox("s1", "1234")

    async def listen() -> None:
        async with bench.client.on_behalf_of("event stream").container_events() as stream:
            assert ended(bench) == []
            bench.runtime.streams[-1].push(bench.runtime.event("stopped", "c1", "s1"))
            await anyio.sleep(300)
            bench.runtime.streams[-1].end(CriError(Code.UNAVAILABLE, "reset"))
            assert len([event async for event in stream]) == 1

    with pytest.raises(CriError, match="reset"):
        await listen()
    assert bench.runtime.calls[0].timeout_ns is None
    [(call, duration, error, sent, received, items)] = ended(bench)
    assert (call.rpc, call.caller, items, sent) == ("GetContainerEvents", "event stream", 1, 0)
    assert duration > 300 * SECOND
    assert received > 0
    assert isinstance(error, CriError)


@virtual
async def test_a_connection_that_cannot_be_had_is_an_error_on_entering() -> None:
    bench = Bench()
    bench.runtime.fail("GetContainerEvents", Code.UNAVAILABLE, "no socket")
    with pytest.raises(CriError, match="no socket"):
        async with bench.client.container_events():
            raise AssertionError("entered without a connection")
    assert len(ended(bench)) == 1


@virtual
async def test_nothing_that_is_called_changes_anything() -> None:
    bench = Bench()
    bench.runtime.sandbox("s1", "1234")
    bench.runtime.container("c1", "1234", sandbox="s1")
    await bench.relist()
    await bench.client.get_pod("1234")
    await bench.client.runtime_status()
    await receive(bench)
    assert {call.rpc for call in bench.runtime.calls} == READS
