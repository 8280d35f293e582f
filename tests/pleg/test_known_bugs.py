"""Famous upstream trouble that belongs to no single step: many pods, large answers, restarts (section 9 of the facts).

More of it stands beside the step that it belongs to; every such test is named k<number> after its issue.
"""

from __future__ import annotations

import pytest

from cri.clock import MILLISECOND, MINUTE, SECOND
from cri.transport import Code
from tests.pleg.support import Bench, NodeBench, virtual

STARTED, DIED, REMOVED = "ContainerStarted", "ContainerDied", "ContainerRemoved"


@virtual
async def test_k131407_a_list_beyond_16_mib_fails_each_time_and_for_good() -> None:
    """Also k#63858 with 4 MiB, k#77138 with 8: one pod too many, and the node is NotReady until some are removed."""
    bench = Bench()
    bench.runtime.container("c", "a")
    async with bench.running():
        await bench.until(10 * SECOND)
        message = "grpc: received message larger than max (16777301 vs. 16777216)"
        bench.runtime.fail("ListContainers", Code.RESOURCE_EXHAUSTED, message)
        await bench.until(10 * MINUTE)
        problem = bench.generic.healthy()
        assert problem is not None
        assert problem.endswith("threshold is 3m0s")
        failed = bench.hooks.logged("GenericPLEG: Unable to retrieve pods")
        assert len(failed) > 580, "it fails at once, each second"
        assert str(failed[0][1]["err"]) == f"rpc error: code = ResourceExhausted desc = {message}"
        bench.runtime.heal()
        await bench.until(10 * MINUTE + 2 * SECOND)
        assert bench.generic.healthy() is None


@virtual
async def test_k131407_with_lists_as_streams_the_same_node_goes_on() -> None:
    """The cure, CRIListStreaming: at the first answer that is too large."""
    bench = Bench(stream_lists="auto")
    bench.runtime.container("c", "a")
    bench.runtime.chunk = 5000
    bench.runtime.fail("ListContainers", Code.RESOURCE_EXHAUSTED, "grpc: received message larger than max")
    assert await bench.relist() == [("a", "c", STARTED)]
    assert bench.hooks.logs("E") == ["ListContainers with filter from runtime service failed"]


@virtual
async def test_k93886_a_relist_that_inspects_360_changed_pods_takes_as_long_as_all_their_calls() -> None:
    """Serial inspection, also k#26394: 360 pods at 115 ms a call are 83 s, in which nobody's news gets through."""
    bench = Bench(capacity=1000)
    for number in range(360):
        bench.runtime.sandbox(f"s{number}", f"u{number}")
        bench.runtime.container(f"c{number}", f"u{number}", sandbox=f"s{number}")
    bench.runtime.delays |= {"PodSandboxStatus": 115 * MILLISECOND, "ContainerStatus": 115 * MILLISECOND}
    await bench.generic.relist()
    [(duration, _)] = bench.hooks.of("relist_ended")
    assert duration // SECOND == 82
    assert bench.cache.time is not None
    assert len(bench.events()) == 720


@virtual
async def test_k139788_300_pods_that_change_at_once_and_are_slow_turn_the_node_not_ready() -> None:
    bench = NodeBench()
    for number in range(300):
        bench.runtime.container(f"c{number}", f"u{number}")
    bench.runtime.delays["ContainerStatus"] = 700 * MILLISECOND  # 210 s for all
    async with bench.running():
        await bench.until(400 * SECOND)
    statuses = [status for _, status, _ in bench.conditions()]
    assert statuses[0] == "False", "it starts so"
    flips = [args[1] for _, hook, args, _ in bench.hooks.seen if hook == "node_condition" and args[4]]
    assert flips == ["False", "True", "False", "True"], "late from 180 s after the relist's start until the next list"


@virtual
async def test_k45419_after_a_restart_every_dead_container_is_reported_dead_once_more() -> None:
    """A thousand exited ones fill the channel before anything is read; what did not fit is lost, the cache is not."""
    bench = Bench(capacity=1000)
    for number in range(1200):
        bench.runtime.container(f"c{number}", "a", "exited", exit_code=1)
    await bench.generic.relist()
    assert {str(event.type) for event in bench.events()} == {DIED}
    assert bench.channel.discarded == 200
    assert len(bench.status("a").containers) == 1200


@virtual
async def test_k69007_before_the_first_success_nobody_prints_the_largest_duration_there_is() -> None:
    """Once it was `2562047h47m16.854775807s`."""
    bench = Bench()
    await bench.until(5 * MINUTE)
    assert bench.generic.healthy() == "pleg has yet to be successful"


@virtual
async def test_k87108_a_hung_relist_is_in_no_histogram_but_last_seen_stands_still() -> None:
    bench = Bench()
    async with bench.running():
        await bench.until(10 * SECOND)
        bench.runtime.hang("ListPodSandbox")
        await bench.until(11500 * MILLISECOND)
        bench.hooks.clear()
        for second in range(12, 120, 10):
            await bench.until(second * SECOND)
            bench.generic.healthy()
    assert bench.hooks.of("relist_started") == bench.hooks.of("relist_ended")[:0] == []
    assert len(set(bench.hooks.of("last_seen"))) == 1


@virtual
async def test_k123940_a_change_that_is_no_change_of_state_is_not_seen() -> None:
    """Resources, labels, annotations, an IP: nothing is inspected until somebody asks for it."""
    bench = Bench()
    bench.runtime.sandbox("s", "a")
    bench.runtime.container("c", "a", sandbox="s")
    await bench.relist()
    bench.runtime.sandbox("s", "a", ip="10.0.0.9")
    bench.runtime.containers["c"].annotations["resized"] = "yes"
    assert await bench.relist() == []
    assert bench.status("a").ips == ()
    bench.generic.request_reinspect("a")
    assert await bench.relist() == [("a", "", "PodSync")]
    assert bench.status("a").ips == ("10.0.0.9",)


@virtual
async def test_k41569_a_late_pleg_makes_the_node_not_ready_and_does_not_merely_stop_its_loop() -> None:
    bench = NodeBench()
    async with bench.running():
        await bench.until(10 * SECOND)
        bench.runtime.hang("ListPodSandbox")
        await bench.until(300 * SECOND)
        [condition] = bench.node.conditions()
    assert (condition.status, condition.reason) == ("False", "KubeletNotReady")
    assert condition.message.startswith("PLEG is not healthy: pleg was last seen active ")


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED])
@virtual
async def test_k45496_a_relist_whose_list_failed_does_not_count_as_seen(code: Code) -> None:
    bench = Bench()
    await bench.relist()
    good = bench.generic.relist_time
    bench.runtime.fail("ListPodSandbox", code)
    for _ in range(5):
        await bench.relist()
    assert bench.generic.relist_time == good


@virtual
async def test_k137724_f20_a_pod_between_the_two_snapshots_is_a_ghost_for_one_relist_at_most() -> None:
    """Listed by its sandbox, gone when its containers are listed, NOT_FOUND when it is inspected."""
    bench = Bench()
    bench.runtime.sandbox("s", "a")
    bench.runtime.container("c", "a", sandbox="s")
    bench.runtime.fail("PodSandboxStatus/s", Code.NOT_FOUND)
    bench.runtime.fail("ContainerStatus/c", Code.NOT_FOUND)
    assert await bench.relist() == [("a", "c", STARTED), ("a", "s", STARTED)]
    status = bench.status("a")
    assert (status.sandboxes, status.containers) == ((), ())
    bench.runtime.remove("s", "c")
    assert await bench.relist() == [("a", "c", DIED), ("a", "c", REMOVED), ("a", "s", DIED), ("a", "s", REMOVED)]
