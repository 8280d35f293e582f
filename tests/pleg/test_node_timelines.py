"""What real kubelets did when their runtime hung, second by second (peers.md), done by this node in virtual time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from cri.clock import MILLISECOND, SECOND
from tests.pleg.support import NodeBench, virtual

STARTING = (
    "[container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be successful]"
)
DOWN = "container runtime is down"
LATE = re.compile(r"PLEG is not healthy: pleg was last seen active (?:(\d+)m)?([\d.]+)s ago; threshold is 3m0s")

#: When it begins: 0.6 s before a housekeeping, as in the measured run.
T0 = 59_400 * MILLISECOND


def since(t0: int, times: Iterable[int]) -> list[float]:
    """Seconds after the beginning, to a tenth."""
    return [round((at - t0) / SECOND, 1) for at in times if at >= t0]


def elapsed(text: str) -> float:
    """The seconds in a PLEG's complaint."""
    found = LATE.search(text)
    assert found is not None, text
    return int(found[1] or 0) * 60 + float(found[2])


def relist_time(bench: NodeBench) -> int:
    """Start of the last good relist, Unix ns."""
    assert bench.node.generic is not None
    assert bench.node.generic.relist_time is not None
    return bench.node.generic.relist_time


def with_pods() -> NodeBench:
    """Three pods of one container each."""
    bench = NodeBench()
    for uid in ("a", "b", "c"):
        bench.runtime.sandbox(f"s-{uid}", uid)
        bench.runtime.container(f"c-{uid}", uid, sandbox=f"s-{uid}")
    return bench


@virtual
async def test_at_start_up_there_is_one_skip_with_both_reasons() -> None:
    bench = with_pods()
    async with bench.running():
        await bench.until(20 * SECOND)
        assert [c.status for c in bench.node.conditions()] == ["True"]
    assert bench.skips() == [(0, STARTING)]
    assert bench.hooks.logged("Starting kubelet main sync loop") != []


@virtual
async def test_list_containers_hangs_and_all_else_answers() -> None:
    """1.37.2 behind a proxy, released after 676.8 s."""
    bench = with_pods()
    async with bench.running():
        await bench.until(T0)
        good = relist_time(bench)
        bench.runtime.hang("ListContainers")
        await bench.until(T0 + 676_800 * MILLISECOND)
        bench.runtime.heal()
        await bench.until(T0 + 700 * SECOND)
    last_good = good - bench.clock.now() + bench.clock.monotonic()  # as monotonic time
    age = (T0 - last_good) / SECOND
    assert 0 <= age < 1.1

    failed = since(T0, (at for at, _ in bench.hooks.logged("GenericPLEG: Unable to retrieve pods")))
    assert 120 <= failed[0] < 121.1
    assert [round(later - earlier, 1) for earlier, later in pairwise(failed)] == [121.0] * 4

    slow = bench.hooks.logged("Housekeeping took longer than expected")
    assert since(T0, (at for at, _ in slow))[:2] == [120.6, 240.6]
    assert slow[0][1]["expected"] == "1s"
    assert slow[0][1]["actual"] == "2m0.001s"
    assert since(T0, (at for at, _ in bench.hooks.logged("Failed cleaning pods"))) == [120.6, 240.6]

    skips = [(at, text) for at, text in bench.skips() if at > T0]
    began = since(T0, (at for at, _ in skips))
    assert began[:11] == [240.6, 240.7, 240.9, 241.3, 242.1, 243.7, 246.9, 251.9, 256.9, 261.9, 266.9]
    assert abs(elapsed(skips[0][1]) - (240.6 + age)) < 0.1, "4m1.3s in the measured run"
    assert 676.8 - 5 <= began[-1] < 676.8 + 5, "each 5 s until it is well again"

    flips = [(at, args[1]) for at, hook, args, _ in bench.hooks.seen if hook == "node_condition" and args[4]]
    (down_at, down), (up_at, up) = [flip for flip in flips if flip[0] > T0]
    assert (down, up) == ("False", "True")
    assert 180 - age <= since(T0, [down_at])[0] <= 180 - age + 10.4, "179.6 in the measured run"
    assert 676.8 < since(T0, [up_at])[0] <= 676.8 + 10.5, "680.7"
    bad = [(at, message) for at, status, message in bench.conditions() if status == "False" and at > T0]
    assert len({message for _, message in bad}) == len(bad), "one patch each time: the elapsed time differs"
    assert all(10 <= later - earlier <= 10.4 for earlier, later in pairwise(since(T0, (at for at, _ in bad))))
    assert all(message.startswith("PLEG is not healthy: pleg was last seen active ") for _, message in bad)


@virtual
async def test_while_it_hangs_the_loop_reads_nothing_and_the_backlog_comes_at_once_afterwards() -> None:
    bench = with_pods()
    async with bench.running():
        await bench.until(T0)
        bench.runtime.hang("ListContainers/all")
        await bench.until(T0 + 10 * SECOND)
        bench.hooks.clear()
        bench.runtime.container("c-a", "a", "exited", sandbox="s-a")
        for _ in range(3):  # somebody asks for the pod, and finds the change in it
            assert bench.node.generic is not None
            bench.node.generic.request_relist("a")
        await bench.until(T0 + 300 * SECOND)
        sent, read = bench.hooks.times("event_sent"), bench.hooks.times("event_read")
        bench.runtime.heal()
        await bench.until(T0 + 320 * SECOND)
    # The relist under way fails after 120 s; a second later the next hangs; between them the request is served.
    assert [120 <= at < 122 for at in since(T0, sent)] == [True]
    assert all(at < T0 + 241 * SECOND for at in read), "in the moment between two housekeepings, if at all"
    assert len(bench.hooks.times("event_read")) == len(bench.hooks.times("event_sent"))
    assert len(bench.node.channel) == 0


@virtual
async def test_the_whole_runtime_is_frozen_for_395_seconds() -> None:
    """containerd 2.4.2 under SIGSTOP, kubelet 1.37.2: lists, statuses and Status hang together."""
    rpcs = ("ListPodSandbox", "ListContainers", "PodSandboxStatus", "ContainerStatus", "Status")
    bench = with_pods()
    freeze = 58_700 * MILLISECOND  # 1.3 s before a housekeeping
    async with bench.running():
        await bench.until(freeze)
        for rpc in rpcs:
            bench.runtime.hang(rpc)
        verdicts = []
        for second in range(0, 396, 5):
            await bench.until(freeze + second * SECOND)
            verdicts.append(bench.node.sync_loop_error())
        await bench.until(freeze + 395_200 * MILLISECOND)
        bench.runtime.heal()
        await bench.until(freeze + 420 * SECOND)
        last = [c.status for c in bench.node.conditions()]

    failed = since(freeze, (at for at, _ in bench.hooks.logged("GenericPLEG: Unable to retrieve pods")))
    assert [round(at - failed[0], 1) for at in failed] == [0.0, 121.0, 242.0]
    assert 120 <= failed[0] < 121.1
    assert since(freeze, (at for at, _ in bench.hooks.logged("Failed cleaning pods"))) == [121.3]

    skips = [(round((at - freeze) / SECOND, 1), text) for at, text in bench.skips() if at > freeze]
    began = [at for at, _ in skips]
    assert began[:9] == [121.3, 121.4, 121.6, 122.0, 122.8, 124.4, 127.6, 132.6, 137.6]
    assert all(text == DOWN for at, text in skips if at < 180)
    first_both = next((at, text) for at, text in skips if text != DOWN)
    assert first_both[0] == 182.6
    assert first_both[1].startswith(f"[{DOWN}, PLEG is not healthy: pleg was last seen active 3m")
    assert [round(later - earlier, 1) for earlier, later in pairwise(at for at in began if at > 182)][:42] == [5.0] * 42
    assert verdicts == [None] * len(verdicts), "/healthz stayed ok: the last entry was 274 s old"

    not_ready = [at for at, status, _ in bench.conditions() if status == "False" and at > freeze]
    # The last good Status began up to 5 s before the freeze; its poll notices nothing, it is the age that counts.
    assert 25 <= since(freeze, not_ready)[0] <= 30 + 10.4
    assert last == ["True"]

    ended = [(args[0].rpc, args[2]) for _, hook, args, _ in bench.hooks.seen if hook == "call_ended"]
    errors: dict[str, int] = {}
    for rpc, error in ended:
        errors[rpc] = errors.get(rpc, 0) + (error is not None and "context deadline" in str(error))
    assert errors["ListPodSandbox"] == 4
    assert errors["Status"] == 3
    intervals = [interval // SECOND for interval in bench.hooks.of("relist_started")[1:] if interval > 2 * SECOND]
    # 122, 243 and 364 s since the last good one; the one under way at the thaw was good, 33 s before the next.
    assert [round(interval, -1) for interval in intervals] == [120, 240, 360, 30]


@virtual
async def test_a_total_hang_is_the_runtime_down_long_before_it_is_the_pleg() -> None:
    bench = with_pods()
    async with bench.running():
        await bench.until(T0)
        for rpc in ("ListPodSandbox", "ListContainers", "Status"):
            bench.runtime.hang(rpc)
        await bench.until(T0 + 200 * SECOND)
    messages = [(round((at - T0) / SECOND), message) for at, status, message in bench.conditions() if status == "False"]
    later = [(at, message) for at, message in messages if at > 0]
    assert later[0][1] == DOWN
    assert 25 <= later[0][0] <= 41
    first_pleg = next(at for at, message in later if "PLEG" in message)
    assert 179 <= first_pleg <= 191


@virtual
async def test_one_hanging_container_status_leaves_the_node_ready() -> None:
    """1.36.3 measured: Ready for all 677 s; one inspection fails about each 121 s; other pods change only between."""
    bench = with_pods()
    async with bench.running():
        await bench.until(T0)
        bench.runtime.container("c-a", "a", "exited", sandbox="s-a")
        bench.runtime.hang("ContainerStatus/c-a")
        await bench.until(T0 + 30 * SECOND)
        bench.runtime.container("c-b", "b", "exited", sandbox="s-b")
        await bench.until(T0 + 600 * SECOND)
    assert {status for at, status, _ in bench.conditions() if at > T0} == {"True"}
    failed = [at for at, hook, args, _ in bench.hooks.seen if hook == "pod_inspected" and args[1] is not None]
    assert [round(at) for at in since(failed[0], failed)] == [0, 121, 242, 363]
    died = [at for at, hook, args, _ in bench.hooks.seen if hook == "event_read" and args[0].data == "c-b"]
    assert round((died[-1] - T0) / SECOND) >= 120, "late, though nothing is wrong with it"
