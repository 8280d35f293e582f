"""GetPodStatus: one pod inspected, and what the kubelet's client refuses (section 6.2 of the facts)."""

from __future__ import annotations

from typing import Any

import pytest

from cri.clock import SECOND, VIRTUAL_EPOCH
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as cri
from pleg.pods import ContainerState, PodStatus, SandboxState
from pleg.runtime.convert import MalformedAnswer
from tests.pleg.support import Bench, virtual

FROM_SANDBOX = VIRTUAL_EPOCH + 77 * SECOND


def one_pod(**more: Any) -> Bench:
    """A pod with an older sandbox, a newest one with an IP, two containers in the newest and one in the older."""
    bench = Bench(**more)
    bench.runtime.sandbox("old", "1234", "notready", age=9, ip="10.0.0.1")
    bench.runtime.sandbox("new", "1234", attempt=1, age=5, ip="10.0.0.2")
    bench.runtime.container("first", "1234", "exited", sandbox="old", age=8, exit_code=3)
    bench.runtime.container("second", "1234", sandbox="new", age=4)
    bench.runtime.container("third", "1234", "created", sandbox="new", age=3)
    return bench


async def inspect(bench: Bench) -> PodStatus:
    pod = await bench.client.get_pod("1234")
    bench.runtime.asked()
    return await bench.client.get_pod_status(pod)


@virtual
async def test_each_sandbox_then_each_container_is_asked_for_newest_first_and_tersely() -> None:
    bench = one_pod()
    status = await inspect(bench)
    assert not any(call.request.verbose for call in bench.runtime.calls)
    assert bench.runtime.asked() == [
        "PodSandboxStatus/new",
        "PodSandboxStatus/old",
        "ContainerStatus/third",
        "ContainerStatus/second",
        "ContainerStatus/first",
    ]
    assert (status.uid, status.name, status.namespace) == ("1234", "pod-1234", "default")
    assert [(s.id, s.state) for s in status.sandboxes] == [("new", SandboxState.READY), ("old", SandboxState.NOTREADY)]
    assert [c.id for c in status.containers] == ["third", "second", "first"]
    assert [c.id for c in status.active_containers] == ["third", "second"], "those of the newest sandbox, if READY"


@virtual
async def test_container_statuses_are_sorted_by_their_own_time_of_creation() -> None:
    bench = one_pod()
    bench.runtime.container_statuses["first"].status.created_at = VIRTUAL_EPOCH + SECOND
    status = await inspect(bench)
    assert [c.id for c in status.containers] == ["first", "third", "second"]


@virtual
async def test_the_time_of_a_status_is_that_of_the_pods_list() -> None:
    bench = one_pod()
    pod = await bench.client.get_pod("1234")
    bench.runtime.delays["ContainerStatus"] = SECOND
    assert (await bench.client.get_pod_status(pod)).timestamp == pod.timestamp


@virtual
async def test_a_container_status_carries_what_the_kubelet_keeps() -> None:
    bench = one_pod()
    response = bench.runtime.container_statuses["first"]
    response.status.reason = "Error"
    response.status.message = "said goodbye"
    response.status.annotations["io.kubernetes.container.restartCount"] = "4"
    first = (await inspect(bench)).containers[-1]
    assert (first.name, first.state, first.exit_code) == ("name-first", ContainerState.EXITED, 3)
    assert (first.reason, first.message, first.restart_count) == ("Error", "said goodbye", 4)
    assert (first.started_at, first.finished_at) == (VIRTUAL_EPOCH, VIRTUAL_EPOCH)


@virtual
async def test_how_it_ended_is_kept_only_of_what_ended_and_when_it_started_only_of_what_did() -> None:
    """`toKubeContainerStatus`: what a runtime says beyond its own state is not taken over."""
    bench = one_pod()
    for id_ in ("second", "third"):
        told = bench.runtime.container_statuses[id_].status
        told.started_at = told.finished_at = VIRTUAL_EPOCH
        told.exit_code, told.reason, told.message = 137, "OOMKilled", "too early"
    third, second, _ = (await inspect(bench)).containers
    for status in (third, second):
        assert (status.exit_code, status.reason, status.message, status.finished_at) == (0, "", "", 0)
    assert (third.started_at, second.started_at) == (0, VIRTUAL_EPOCH)


@pytest.mark.parametrize("count", ["", "x", "-1", "1.5", "\u0663"])
@virtual
async def test_a_restart_count_that_is_no_number_is_none(count: str) -> None:
    bench = one_pod()
    bench.runtime.container_statuses["first"].status.annotations["io.kubernetes.container.restartCount"] = count
    assert (await inspect(bench)).containers[-1].restart_count <= 0


@pytest.mark.parametrize("which", ["PodSandboxStatus/new", "PodSandboxStatus/old", "ContainerStatus/second"])
@virtual
async def test_what_is_gone_by_now_is_left_out_without_error(which: str) -> None:
    bench = one_pod()
    bench.runtime.fail(which, Code.NOT_FOUND, "gone")
    status = await inspect(bench)
    gone = which.split("/")[1]
    assert gone not in [s.id for s in status.sandboxes] + [c.id for c in status.containers]
    assert len(status.sandboxes) + len(status.containers) == 4
    assert status.ips == (() if gone == "new" else ("10.0.0.2",)), "IPs come from the newest sandbox alone"


@pytest.mark.parametrize(
    ("which", "calls"), [("PodSandboxStatus/new", 1), ("PodSandboxStatus/old", 2), ("ContainerStatus/second", 4)]
)
@virtual
async def test_any_other_error_ends_the_inspection_at_once_without_a_partial_status(which: str, calls: int) -> None:
    bench = one_pod()
    bench.runtime.fail(which, Code.UNKNOWN, "shim is gone")
    with pytest.raises(CriError, match="shim is gone"):
        await inspect(bench)
    assert len(bench.runtime.asked()) == calls


@pytest.mark.parametrize(
    ("which", "message"),
    [("PodSandboxStatus/new", "pod sandbox status is nil"), ("ContainerStatus/second", "container status is nil")],
)
@virtual
async def test_an_answer_without_status_is_an_error(which: str, message: str) -> None:
    bench = one_pod()
    bench.runtime.answer(which, b"")
    with pytest.raises(MalformedAnswer, match=f"^{message}$"):
        await inspect(bench)


SANDBOX_FLAWS = {
    "status.Id is not set": ("id",),
    "status.Metadata is not set": ("metadata",),
    "status.CreatedAt is not set": ("created_at",),
}
CONTAINER_FLAWS = {
    **SANDBOX_FLAWS,
    "status.Image is not set": ("image",),
    "status.ImageRef is not set": ("image_ref",),
}


@pytest.mark.parametrize("message", list(SANDBOX_FLAWS))
@virtual
async def test_a_sandbox_status_with_a_field_missing_is_refused_in_the_clients_words(message: str) -> None:
    bench = one_pod()
    for field in SANDBOX_FLAWS[message]:
        bench.runtime.sandbox_statuses["new"].status.ClearField(field)  # type: ignore[arg-type]
    with pytest.raises(MalformedAnswer, match=f"^{message}$"):
        await inspect(bench)


@pytest.mark.parametrize("field", ["name", "namespace", "uid"])
@virtual
async def test_a_sandbox_status_with_part_of_its_metadata_missing_is_refused(field: str) -> None:
    bench = one_pod()
    bench.runtime.sandbox_statuses["new"].status.metadata.ClearField(field)  # type: ignore[arg-type]
    with pytest.raises(MalformedAnswer, match=r"^metadata\.Name, metadata\.Namespace or metadata\.Uid is not in "):
        await inspect(bench)


@pytest.mark.parametrize("message", [*CONTAINER_FLAWS, "metadata.Name is not in metadata"])
@virtual
async def test_a_container_status_with_a_field_missing_is_refused_in_the_clients_words(message: str) -> None:
    bench = one_pod()
    status = bench.runtime.container_statuses["second"].status
    if message in CONTAINER_FLAWS:
        for field in CONTAINER_FLAWS[message]:
            status.ClearField(field)  # type: ignore[arg-type]
    else:
        status.metadata.name = ""
    with pytest.raises(MalformedAnswer, match=f"^{message}"):
        await inspect(bench)


@pytest.mark.parametrize("which", ["PodSandboxStatus/new", "ContainerStatus/second"])
@virtual
async def test_truncated_bytes_are_an_internal_error(which: str) -> None:
    bench = one_pod()
    statuses = bench.runtime.sandbox_statuses if "Sandbox" in which else bench.runtime.container_statuses
    whole: bytes = statuses[which.split("/")[1]].SerializeToString()
    bench.runtime.answer(which, whole[:-3])
    with pytest.raises(CriError, match="failed to unmarshal"):
        await inspect(bench)


# --- IPs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("primary", "additional", "expected"),
    [
        ("10.0.0.2", (), ("10.0.0.2",)),
        ("10.0.0.2", ("fd00::2",), ("10.0.0.2", "fd00::2")),
        ("", (), ()),
        ("", ("fd00::2",), ("fd00::2",)),
        ("not an ip", ("fd00::2",), ()),
        ("10.0.0.2/24", (), ()),
        ("10.0.0.2", ("not an ip",), ()),  # one that cannot be parsed takes all with it
    ],
)
@virtual
async def test_ips_are_those_that_can_be_parsed(
    primary: str, additional: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """`determinePodSandboxIPs` of kuberuntime_sandbox.go."""
    bench = one_pod()
    network = bench.runtime.sandbox_statuses["new"].status.network
    network.ip = primary
    for ip in additional:
        network.additional_ips.add(ip=ip)
    assert (await inspect(bench)).ips == expected


@virtual
async def test_a_sandbox_that_is_not_ready_has_no_ips_and_no_active_containers() -> None:
    bench = one_pod()
    bench.runtime.sandbox_statuses["new"].status.state = cri.SANDBOX_NOTREADY
    status = await inspect(bench)
    assert (status.ips, status.active_containers) == ((), ())


# --- behind the EventedPLEG gate -----------------------------------------------------------------------------


@virtual
async def test_gate_with_a_timestamp_containers_come_from_the_newest_sandboxs_answer_unsorted() -> None:
    bench = one_pod(statuses_from_sandbox=True)
    newest = bench.runtime.sandbox_statuses["new"]
    newest.timestamp = FROM_SANDBOX
    for id_ in ("first", "third", "second"):
        newest.containers_statuses.add().CopyFrom(bench.runtime.container_statuses[id_].status)
    status = await inspect(bench)
    assert bench.runtime.asked() == ["PodSandboxStatus/new", "PodSandboxStatus/old"]
    assert [c.id for c in status.containers] == ["first", "third", "second"]
    assert status.active_containers == ()
    assert status.timestamp == FROM_SANDBOX
    assert status.ips == ("10.0.0.2",)


@virtual
async def test_gate_without_a_timestamp_the_old_path_is_taken() -> None:
    bench = one_pod(statuses_from_sandbox=True)
    pod = await bench.client.get_pod("1234")
    bench.runtime.asked()
    status = await bench.client.get_pod_status(pod)
    assert bench.runtime.asked() == [
        "PodSandboxStatus/new",
        "ContainerStatus/third",
        "ContainerStatus/second",
        "ContainerStatus/first",
        "PodSandboxStatus/old",
    ]
    assert [c.id for c in status.containers] == ["third", "second", "first"]
    assert [c.id for c in status.active_containers] == ["third", "second"]
    assert status.timestamp == pod.timestamp


@virtual
async def test_gate_only_the_newest_sandboxs_timestamp_counts() -> None:
    bench = one_pod(statuses_from_sandbox=True)
    bench.runtime.sandbox_statuses["old"].timestamp = FROM_SANDBOX
    status = await inspect(bench)
    assert len(status.containers) == 3
    assert status.timestamp < FROM_SANDBOX


@pytest.mark.parametrize("gone", ["listed nowhere", "gone since"])
@virtual
async def test_gate_without_a_newest_sandbox_there_are_no_container_statuses_at_all(gone: str) -> None:
    bench = one_pod(statuses_from_sandbox=True)
    if gone == "listed nowhere":
        bench.runtime.remove("old", "new")
    else:
        bench.runtime.fail("PodSandboxStatus/new", Code.NOT_FOUND)
    status = await inspect(bench)
    assert status.containers == ()
    assert not any(name.startswith("ContainerStatus") for name in bench.runtime.asked())


@virtual
async def test_k129818_gate_a_timestamp_without_statuses_gives_an_empty_list() -> None:
    """containerd 2.0 filled the one and not the other."""
    bench = one_pod(statuses_from_sandbox=True)
    bench.runtime.sandbox_statuses["new"].timestamp = FROM_SANDBOX
    assert (await inspect(bench)).containers == ()


@virtual
async def test_without_the_gate_a_timestamp_changes_nothing() -> None:
    bench = one_pod()
    bench.runtime.sandbox_statuses["new"].timestamp = FROM_SANDBOX
    status = await inspect(bench)
    assert len(status.containers) == 3
    assert status.timestamp < FROM_SANDBOX
