"""The kubelet's own unit tests of its generic PLEG (pkg/kubelet/pleg/generic_test.go, 1.36), told in our words.

Events are compared after sorting by pod and id: upstream promises no order within a relist.
"""

from __future__ import annotations

import anyio
import pytest

from cri.clock import MINUTE, SECOND, seconds
from cri.transport import CriError
from pleg.generators.generic import RelistSettings
from pleg.pods import ContainerState, PodStatus
from tests.pleg.support import Bench, virtual

STARTED, DIED, REMOVED, POD_SYNC = "ContainerStarted", "ContainerDied", "ContainerRemoved", "PodSync"


@pytest.mark.parametrize("kind", ["containers", "sandboxes"])
@virtual
async def test_relisting(kind: str) -> None:
    """TestRelisting, and TestRelistingWithSandboxes: sandboxes in place of containers give the same events."""
    bench = Bench()

    def put(id_: str, uid: str, state: str) -> None:
        if kind == "containers":
            bench.runtime.container(id_, uid, state)
        else:
            bench.runtime.sandbox(id_, uid, {"running": "ready", "exited": "notready", "unknown": "strange"}[state])

    put("c1-1234", "1234", "exited")
    put("c2-1234", "1234", "running")
    put("c3-1234", "1234", "unknown")
    put("c1-4567", "4567", "exited")
    assert await bench.relist() == [("1234", "c1-1234", DIED), ("1234", "c2-1234", STARTED), ("4567", "c1-4567", DIED)]
    assert await bench.relist() == []

    bench.runtime.remove("c1-1234", "c1-4567")
    put("c2-1234", "1234", "exited")
    put("c3-1234", "1234", "running")
    put("c4-4567", "4567", "running")
    assert await bench.relist() == [
        ("1234", "c1-1234", REMOVED),
        ("1234", "c2-1234", DIED),
        ("1234", "c3-1234", STARTED),
        ("4567", "c1-4567", REMOVED),
        ("4567", "c4-4567", STARTED),
    ]


@virtual
async def test_event_channel_full() -> None:
    bench = Bench(capacity=4)
    bench.runtime.container("c1", "1234", "exited")
    bench.runtime.container("c2", "1234", "running")
    bench.runtime.container("c3", "1234", "unknown")
    bench.runtime.container("d1", "4567", "exited")
    assert len(await bench.relist()) == 3
    assert await bench.relist() == []
    bench.runtime.remove("c1", "d1")
    bench.runtime.container("c2", "1234", "exited")
    bench.runtime.container("c3", "1234", "running")
    bench.runtime.container("d4", "4567", "running")
    await bench.generic.relist()
    possible = {
        ("1234", "c1", REMOVED),
        ("1234", "c2", DIED),
        ("1234", "c3", STARTED),
        ("4567", "d1", REMOVED),
        ("4567", "d4", STARTED),
    }
    arrived = bench.sorted_events()
    assert len(arrived) == 4
    assert set(arrived) < possible
    assert bench.channel.discarded == 1
    assert bench.hooks.logs("E") == ["Event channel is full, discard this relist() cycle event"]


@pytest.mark.parametrize("prior", [1, 3])
@virtual
async def test_detecting_container_deaths_containers(prior: int) -> None:
    bench = Bench()
    bench.runtime.container("c1", "1234", "running")
    bench.runtime.container("c2", "1234", "running")
    bench.runtime.container("c3", "1234", "exited")
    for _ in range(prior):
        await bench.relist()
    bench.runtime.remove("c2", "c3")
    assert await bench.relist() == [("1234", "c2", DIED), ("1234", "c2", REMOVED), ("1234", "c3", REMOVED)]


@pytest.mark.parametrize("prior", [1, 3])
@virtual
async def test_detecting_container_deaths_pods(prior: int) -> None:
    bench = Bench()
    bench.runtime.container("c2", "1234", "running")
    for _ in range(prior):
        await bench.relist()
    bench.runtime.remove("c2")
    assert await bench.relist() == [("1234", "c2", DIED), ("1234", "c2", REMOVED)]


@virtual
async def test_relist_with_cache() -> None:
    bench = Bench()
    for uid in ("good", "bad"):
        bench.runtime.sandbox(f"s-{uid}", uid)
        bench.runtime.container(f"c-{uid}", uid, sandbox=f"s-{uid}")
    bench.runtime.fail("ContainerStatus/c-bad", message="unable to get status", times=1)
    assert await bench.relist() == [("good", "c-good", STARTED), ("good", "s-good", STARTED)]
    assert [c.id for c in bench.status("good").containers] == ["c-good"]
    status, error = bench.cache.get("bad")
    assert status is None
    assert isinstance(error, CriError)
    assert error.message == "unable to get status"

    bench.runtime.asked()
    assert await bench.relist() == [("bad", "c-bad", STARTED), ("bad", "s-bad", STARTED)]
    assert bench.runtime.asked() == [
        "ListPodSandbox",
        "ListContainers",
        "PodSandboxStatus/s-bad",
        "ContainerStatus/c-bad",
    ], "the good one is not looked at again"
    assert [c.state for c in bench.status("bad").containers] == [ContainerState.RUNNING]


@virtual
async def test_remove_cache_entry() -> None:
    bench = Bench()
    bench.runtime.container("c1", "1234")
    await bench.relist()
    assert "1234" in bench.cache
    bench.runtime.remove("c1")
    await bench.relist()
    assert bench.cache.get("1234") == (PodStatus("1234"), None)
    assert "1234" not in bench.cache


@virtual
async def test_healthy() -> None:
    bench = Bench(settings=RelistSettings(threshold=3 * MINUTE))
    assert bench.generic.healthy() is not None
    await anyio.sleep(seconds(10 * MINUTE))
    assert bench.generic.healthy() is not None
    await bench.relist()
    await anyio.sleep(seconds(1 * MINUTE))
    assert bench.generic.healthy() is None
    await anyio.sleep(seconds(3 * MINUTE))
    assert bench.generic.healthy() is not None


# --- TestReinspect -------------------------------------------------------------------------------------------


async def settled() -> Bench:
    """A pod that was relisted and has nothing new."""
    bench = Bench()
    bench.runtime.sandbox("s1", "1234")
    await bench.relist()
    bench.runtime.asked()
    return bench


INSPECTED = ["ListPodSandbox", "ListContainers", "PodSandboxStatus/s1"]
QUIET = ["ListPodSandbox", "ListContainers"]


@virtual
async def test_reinspect_not_flagged_is_not_inspected() -> None:
    bench = await settled()
    assert await bench.relist() == []
    assert bench.runtime.asked() == QUIET


@pytest.mark.parametrize("requests", [1, 2])
@virtual
async def test_reinspect_requested_and_well(requests: int) -> None:
    """The G3 answer to TestRelistWithReinspection, where 1.35 and older sent nothing."""
    bench = await settled()
    for _ in range(requests):
        bench.generic.request_reinspect("1234")
    bench.runtime.sandbox_statuses["s1"].status.network.ip = "10.0.0.9"
    assert await bench.relist() == [("1234", "", POD_SYNC)]
    assert bench.runtime.asked() == INSPECTED
    assert bench.status("1234").ips == ("10.0.0.9",)
    assert await bench.relist() == [], "the flag was taken down"
    assert bench.runtime.asked() == QUIET


@virtual
async def test_reinspect_requested_and_failed() -> None:
    bench = await settled()
    bench.generic.request_reinspect("1234")
    bench.runtime.fail("PodSandboxStatus", message="hopeless")
    for _ in range(2):
        assert await bench.relist() == []
        assert bench.runtime.asked() == INSPECTED
        status, error = bench.cache.get("1234")
        assert (status, str(error)) == (None, "rpc error: code = Unknown desc = hopeless")
    bench.runtime.heal()
    assert await bench.relist() == [("1234", "", POD_SYNC)], "the flag had stayed"


@pytest.mark.parametrize("asked_again", [True, False])
@pytest.mark.parametrize("well", [True, False])
@virtual
async def test_reinspect_already_flagged(asked_again: bool, well: bool) -> None:
    bench = await settled()
    bench.generic.request_reinspect("1234")
    bench.runtime.fail("PodSandboxStatus", times=None if not well else 1)
    await bench.relist()
    bench.runtime.asked()
    if asked_again:
        bench.generic.request_reinspect("1234")
    assert await bench.relist() == ([("1234", "", POD_SYNC)] if well else [])
    assert bench.runtime.asked() == INSPECTED
    await bench.relist()
    assert bench.runtime.asked() == (QUIET if well else INSPECTED)


@virtual
async def test_reinspect_flagged_and_the_pod_deleted() -> None:
    """A pod without containers that is gone: PodSync all the same, and the empty status."""
    bench = Bench()
    bench.runtime.container("c1", "1234")
    bench.runtime.containers["c1"].ClearField("image")  # listed, and cannot be converted: a pod with nothing in it
    bench.generic.request_reinspect("1234")
    assert await bench.relist() == [("1234", "", POD_SYNC)]
    assert "1234" in bench.cache
    bench.generic.request_reinspect("1234")
    bench.runtime.remove("c1")
    assert await bench.relist() == [("1234", "", POD_SYNC)]
    assert bench.cache.get("1234") == (PodStatus("1234"), None)
    assert "1234" not in bench.cache
    assert await bench.relist() == []


@virtual
async def test_reinspect_with_events_sends_them_and_no_pod_sync() -> None:
    bench = await settled()
    bench.generic.request_reinspect("1234")
    bench.runtime.container("c1", "1234", sandbox="s1")
    assert await bench.relist() == [("1234", "c1", STARTED)]
    bench.generic.request_reinspect("1234")
    bench.runtime.remove("c1", "s1")
    assert await bench.relist() == [
        ("1234", "c1", DIED),
        ("1234", "c1", REMOVED),
        ("1234", "s1", DIED),
        ("1234", "s1", REMOVED),
    ]


# --- IPs and gauges ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ips", [["192.168.1.5"], ["192.168.1.5", "fe80::1"]])
@virtual
async def test_relist_ip_change(ips: list[str]) -> None:
    bench = Bench()
    bench.runtime.sandbox("s1", "1234", ip=ips[0])
    for ip in ips[1:]:
        bench.runtime.sandbox_statuses["s1"].status.network.additional_ips.add(ip=ip)
    bench.runtime.container("c1", "1234", sandbox="s1")
    assert await bench.relist() == [("1234", "c1", STARTED), ("1234", "s1", STARTED)]
    assert bench.status("1234").ips == tuple(ips)
    bench.runtime.remove("s1")
    bench.runtime.container("c1", "1234", "exited", sandbox="s1")
    assert await bench.relist() == [("1234", "c1", DIED), ("1234", "s1", DIED), ("1234", "s1", REMOVED)]
    status = bench.status("1234")
    assert status.sandboxes == ()
    assert status.ips == tuple(ips), "a dead pod keeps its addresses"


@virtual
async def test_running_pod_and_container_count() -> None:
    bench = Bench()
    for id_, state in (("c1", "running"), ("c2", "unknown"), ("c3", "unknown")):
        bench.runtime.container(id_, "1234", state)
    for id_, state in (("s1", "ready"), ("s2", "ready"), ("s3", "strange")):
        bench.runtime.sandbox(id_, "1234", state)
    bench.runtime.container("d1", "4567", "exited")
    bench.runtime.sandbox("t1", "4567", "ready")
    bench.runtime.sandbox("t2", "4567", "notready")
    await bench.relist()
    counts = {str(state): count for state, count in bench.hooks.of("running_containers")}
    assert counts == {"exited": 1, "running": 1, "unknown": 2}
    assert bench.hooks.of("running_pods") == [2]


@virtual
async def test_the_record_of_a_pod_that_only_existed_empty_leaves_nothing_behind() -> None:
    bench = Bench()
    bench.runtime.container("c1", "1234")
    bench.runtime.containers["c1"].ClearField("image")
    assert await bench.relist() == []
    bench.runtime.remove("c1")
    assert await bench.relist() == []
    await anyio.sleep(seconds(SECOND))
    assert await bench.relist() == []
    assert "1234" not in bench.cache
