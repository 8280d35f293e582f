"""The two lists as the kubelet asks for them: filters, order, deadlines, streams (section 6.1 of the facts)."""

from __future__ import annotations

import anyio
import pytest

from cri.clock import MILLISECOND, MINUTE, SECOND
from cri.transport import Code, CriError
from pleg.pods import PodNotFound
from pleg.runtime.inventory import Inventory
from tests.pleg.scripted_runtime import POD_UID
from tests.pleg.support import Bench, virtual


@virtual
async def test_all_pods_is_asked_for_with_an_empty_filter_that_is_there() -> None:
    """1.36 and 1.37 send an empty filter message, 1.31 sent none (peers.md)."""
    bench = Bench()
    await bench.client.list_pods(Inventory())
    requests = [call.request for call in bench.runtime.calls]
    assert [type(request).__name__ for request in requests] == ["ListPodSandboxRequest", "ListContainersRequest"]
    for request in requests:
        assert request.HasField("filter")
        assert request.filter.ByteSize() == 0
        assert not request.filter.HasField("state")


@virtual
async def test_what_runs_is_asked_for_with_ready_which_is_zero_and_running() -> None:
    bench = Bench()
    await bench.client.list_pods(Inventory(), running_only=True)
    pods, containers = (call.request.filter for call in bench.runtime.calls)
    assert pods.HasField("state"), "READY is 0: only its presence tells"
    assert (pods.state.state, containers.state.state) == (0, 1)
    assert containers.HasField("state")


@virtual
async def test_one_pod_is_asked_for_by_its_uid_label_in_any_state() -> None:
    bench = Bench()
    bench.runtime.sandbox("s1", "1234", age=5)
    bench.runtime.sandbox("other", "4567")
    bench.runtime.container("c1", "1234", "exited", sandbox="s1")
    pod = await bench.client.get_pod("1234")
    for call in bench.runtime.calls:
        assert dict(call.request.filter.label_selector) == {POD_UID: "1234"}
        assert not call.request.filter.HasField("state")
    assert [s.id for s in pod.sandboxes] == ["s1"]
    assert [c.id for c in pod.containers] == ["c1"]
    assert (pod.uid, pod.name, pod.namespace) == ("1234", "pod-1234", "default")
    assert pod.timestamp == bench.clock.now() - 2 * MILLISECOND, "the time before the sandboxes were listed"


@virtual
async def test_an_unknown_pod_is_not_found() -> None:
    bench = Bench()
    with pytest.raises(PodNotFound, match="pod not found"):
        await bench.client.get_pod("1234")


@virtual
async def test_a_pod_of_one_container_without_sandbox_is_found() -> None:
    bench = Bench()
    bench.runtime.container("c1", "1234")
    assert [c.id for c in (await bench.client.get_pod("1234")).containers] == ["c1"]


@virtual
async def test_k137724_the_time_of_a_list_is_taken_before_the_first_call() -> None:
    bench = Bench()
    begin = bench.clock.now()
    bench.runtime.delays["ListPodSandbox"] = 3 * SECOND
    _, timestamp = await bench.client.list_pods(Inventory())
    assert timestamp == begin
    assert bench.clock.now() == begin + 3 * SECOND + MILLISECOND


@virtual
async def test_the_lists_are_two_snapshots_one_after_the_other() -> None:
    """A pod made between them is seen by its container alone."""
    bench = Bench()
    inventory = Inventory()

    async def make() -> None:
        await anyio.sleep(0.0015)
        bench.runtime.sandbox("s1", "1234")
        bench.runtime.container("c1", "1234")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make)
        await bench.client.list_pods(inventory)
    assert inventory.pods["1234"].sandboxes == ()
    assert [c.id for c in inventory.pods["1234"].containers] == ["c1"]


@pytest.mark.parametrize("rpc", ["ListPodSandbox", "ListContainers"])
@virtual
async def test_if_either_list_fails_the_inventory_stays(rpc: str) -> None:
    bench = Bench()
    bench.runtime.sandbox("s1", "1234")
    inventory = Inventory()
    await bench.client.list_pods(inventory)
    pods = dict(inventory.pods)
    bench.runtime.sandbox("s1", "1234", "notready")
    bench.runtime.container("c1", "1234")
    bench.runtime.fail(rpc, Code.UNAVAILABLE, "gone")
    bench.runtime.asked()
    with pytest.raises(CriError, match="rpc error: code = Unavailable desc = gone"):
        await bench.client.list_pods(inventory)
    assert inventory.pods == pods
    assert bench.runtime.asked() == (["ListPodSandbox"] if rpc == "ListPodSandbox" else ["ListPodSandbox", rpc])
    bench.runtime.heal()
    changed, _ = await bench.client.list_pods(inventory)
    assert changed == {"1234"}


@pytest.mark.parametrize("rpc", ["ListPodSandbox", "ListContainers"])
@virtual
async def test_a_truncated_list_is_an_internal_error_in_a_go_clients_words(rpc: str) -> None:
    bench = Bench()
    bench.runtime.answer(rpc, b"\x0a\x40only a part")
    with pytest.raises(CriError, match="grpc: failed to unmarshal the received message") as caught:
        await bench.client.list_pods(Inventory())
    assert caught.value.code is Code.INTERNAL


@virtual
async def test_a_truncated_entry_inside_a_whole_list_is_an_error_too() -> None:
    bench = Bench()
    inventory = Inventory()
    entry = b"\x0a\x02s1\x12\x05\x0a\x09x.."  # an id, and metadata whose name is longer than the metadata
    bench.runtime.answer("ListPodSandbox", b"\x0a" + bytes([len(entry)]) + entry)
    with pytest.raises(CriError, match="failed to unmarshal"):
        await bench.client.list_pods(inventory)
    assert inventory.pods == {}


@virtual
async def test_a_hung_list_ends_at_the_deadline_of_two_minutes() -> None:
    bench = Bench()
    bench.runtime.hang("ListContainers")
    with pytest.raises(CriError, match="code = DeadlineExceeded"):
        await bench.client.list_pods(Inventory())
    assert bench.clock.monotonic() == 2 * MINUTE + MILLISECOND
    assert {call.timeout_ns for call in bench.runtime.calls} == {2 * MINUTE}


@virtual
async def test_the_deadline_is_a_setting_for_each_call() -> None:
    bench = Bench(timeout=7 * SECOND)
    bench.runtime.sandbox("s1", "1234")
    bench.runtime.container("c1", "1234")
    await bench.relist()
    await bench.client.runtime_status()
    assert {call.timeout_ns for call in bench.runtime.calls} == {7 * SECOND}
    assert len(bench.runtime.calls) == 5


# --- lists as streams (KEP-5825) ------------------------------------------------------------------------------


def filled(bench: Bench) -> Bench:
    for number in range(5):
        bench.runtime.sandbox(f"s{number}", f"u{number}")
        bench.runtime.container(f"c{number}", f"u{number}")
    return bench


UNARY = ["ListPodSandbox", "ListContainers"]
STREAMS = ["StreamPodSandboxes", "StreamContainers"]


@virtual
async def test_off_never_streams() -> None:
    bench = filled(Bench())
    bench.runtime.chunk = 2
    bench.runtime.fail("ListPodSandbox", Code.RESOURCE_EXHAUSTED)
    with pytest.raises(CriError):
        await bench.client.list_pods(Inventory())
    assert bench.runtime.asked() == ["ListPodSandbox"]


@virtual
async def test_on_streams_in_chunks_and_finds_the_same() -> None:
    unary, streamed = Inventory(), Inventory()
    bench = filled(Bench(stream_lists="on"))
    bench.runtime.chunk = 2
    await bench.client.list_pods(streamed)
    assert bench.runtime.asked() == STREAMS
    plain = filled(Bench())
    await plain.client.list_pods(unary)
    assert list(streamed.pods) == [f"u{number}" for number in range(5)]
    assert {(p.uid, p.sandboxes, p.containers) for p in streamed.pods.values()} == {
        (p.uid, p.sandboxes, p.containers) for p in unary.pods.values()
    }


@virtual
async def test_an_empty_stream_is_an_empty_list() -> None:
    bench = Bench(stream_lists="on")
    bench.runtime.chunk = 2
    inventory = Inventory()
    await bench.client.list_pods(inventory)
    assert inventory.pods == {}


@pytest.mark.parametrize("mode", ["on", "auto"])
@virtual
async def test_streams_have_the_same_filters_and_deadlines(mode: str) -> None:
    bench = filled(Bench(stream_lists="on" if mode == "on" else "auto"))
    bench.runtime.chunk = 2
    if mode == "auto":
        bench.runtime.fail("ListPodSandbox", Code.RESOURCE_EXHAUSTED)
    inventory = Inventory()
    await bench.client.list_pods(inventory, running_only=True)
    for call in bench.runtime.calls:
        assert call.request.filter.HasField("state")
        assert call.timeout_ns == 2 * MINUTE
    pod = await bench.client.get_pod("u3")
    assert [s.id for s in pod.sandboxes] == ["s3"]


@virtual
async def test_unimplemented_goes_unary_within_the_call_and_for_good() -> None:
    bench = filled(Bench(stream_lists="on"))
    await bench.client.list_pods(Inventory())
    assert bench.runtime.asked() == ["StreamPodSandboxes", *UNARY]
    bench.runtime.chunk = 2
    await bench.client.list_pods(Inventory())
    await bench.client.on_behalf_of("housekeeping").list_pods(Inventory())
    assert bench.runtime.asked() == UNARY * 2, "every caller shares the decision"


@virtual
async def test_auto_goes_unary_until_an_answer_is_too_large_then_streams() -> None:
    bench = filled(Bench(stream_lists="auto"))
    bench.runtime.chunk = 2
    inventory = Inventory()
    await bench.client.list_pods(inventory)
    assert bench.runtime.asked() == UNARY
    bench.runtime.fail("ListContainers", Code.RESOURCE_EXHAUSTED, "grpc: received message larger than max")
    changed, _ = await bench.client.list_pods(inventory)
    assert changed == set()
    assert bench.runtime.asked() == [*UNARY, "StreamContainers"]
    bench.runtime.heal()
    await bench.client.list_pods(inventory)
    assert bench.runtime.asked() == STREAMS


@virtual
async def test_auto_with_a_runtime_that_cannot_stream_fails_with_the_size_and_stays_unary() -> None:
    bench = filled(Bench(stream_lists="auto"))
    bench.runtime.fail("ListContainers", Code.RESOURCE_EXHAUSTED, "grpc: received message larger than max")
    for expected in ([*UNARY, "StreamContainers", "ListContainers"], UNARY):
        with pytest.raises(CriError, match="larger than max"):
            await bench.client.list_pods(Inventory())
        assert bench.runtime.asked() == expected


@virtual
async def test_other_errors_do_not_make_auto_stream() -> None:
    bench = filled(Bench(stream_lists="auto"))
    bench.runtime.fail("ListPodSandbox", Code.UNAVAILABLE, times=1)
    with pytest.raises(CriError):
        await bench.client.list_pods(Inventory())
    bench.runtime.asked()
    await bench.client.list_pods(Inventory())
    assert bench.runtime.asked() == UNARY


@virtual
async def test_a_stream_that_breaks_off_is_an_error_and_its_part_is_thrown_away() -> None:
    bench = filled(Bench(stream_lists="on"))
    bench.runtime.chunk = 2
    inventory = Inventory()
    await bench.client.list_pods(inventory)
    bench.runtime.sandbox("s9", "u9")
    bench.runtime.fail("StreamContainers", Code.UNAVAILABLE, "torn")
    with pytest.raises(CriError, match="torn"):
        await bench.client.list_pods(inventory)
    assert "u9" not in inventory.pods
    assert len(inventory.pods["u0"].containers) == 1
    bench.runtime.asked()
    bench.runtime.heal()
    await bench.client.list_pods(inventory)
    assert bench.runtime.asked() == STREAMS
    assert "u9" in inventory.pods
