"""After a minute of churn and some quiet, every design holds what the runtime has, under every runtime.

Where a design is known not to, the deviation has a name here (numbers are sections of the kubelet's facts), and a
test of its own. `PLEG_SEEDS` sets how many seeds each pair of runtime and design gets.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import anyio
import pytest

from cri.clock import MILLISECOND, SECOND, seconds
from cri.virtual_time import run_virtual
from pleg.kubelet import PLEGS, Pleg, Settings
from pleg.observe.agreement import Difference
from pleg.pods import EventType, PodLifecycleEvent
from pleg.simulation.run import Log, Plan, Simulation, simulate

RUNTIMES: Final = ("containerd-2.4", "containerd-1.7", "containerd-1.6", "cri-o", "cri-o-noevents")
SEEDS: Final = int(os.environ.get("PLEG_SEEDS", "2"))
#: Runtimes whose stream ends by itself five times at once: evented falls back.
WITHOUT_EVENTS: Final = ("containerd-1.6", "cri-o-noevents")


async def wait_until_settled(run: Simulation) -> None:
    """As long as the design may take to see the last change."""
    pleg = run.plan.settings.pleg
    period = 1 + 2 * seconds(run.log.longest_relist)
    if pleg == "polling":
        # Found within one period, looked at within another; the calls of one pod take some milliseconds.
        await anyio.sleep(20 + seconds(100 * MILLISECOND))
    elif pleg == "evented" and run.plan.runtime not in WITHOUT_EVENTS:
        next_relist = run.log.relists[0][1] + 300 * SECOND
        await anyio.sleep(seconds(next_relist - run.clock.monotonic()) + period)
    else:
        await anyio.sleep(period)


def breaks_of_path(log: Log) -> list[str]:
    """Events that no path of the state table has; an event that was discarded lets its path start anew."""
    states: dict[str, str] = {}
    anew = {event.data for _, event in log.discarded}
    breaks = []
    for _, event in log.sent:
        id_ = event.data
        if id_ is None:
            continue
        state = states.get(id_, "non-existent")
        if state not in LEGAL[event.type] and id_ not in anew:
            breaks.append(f"{event.type} of {id_[:13]}, which was {state}")
        states[id_] = AFTER[event.type]
    return breaks


LEGAL: Final = {
    EventType.CONTAINER_STARTED: ("non-existent", "exited"),
    EventType.CONTAINER_DIED: ("non-existent", "running"),
    EventType.CONTAINER_REMOVED: ("exited",),
}
AFTER: Final = {
    EventType.CONTAINER_STARTED: "running",
    EventType.CONTAINER_DIED: "exited",
    EventType.CONTAINER_REMOVED: "non-existent",
}


def ghost_between_relists(run: Simulation, difference: Difference) -> bool:
    """3.7 row 7: the runtime does not tell that a sandbox is gone, and no relist ever saw that pod."""
    lives = [change for change in run.journal if change.uid == difference.uid]
    born, gone = lives[0].time_ns, lives[-1].time_ns
    offset = run.clock.now() - run.clock.monotonic()
    return lives[-1].new is None and not any(
        born <= start + offset and end + offset <= gone for start, end, _ in run.log.relists
    )


def ghost_of_a_refused_write(run: Simulation, difference: Difference) -> bool:
    """3.5 with 3.7 row 7: events overtook the inspection, so the record was never made, and the end is not told."""
    lives = [change for change in run.journal if change.uid == difference.uid]
    return lives[-1].new is None and difference.uid in run.log.refused


Deviation = Callable[[Simulation, Difference], bool]

#: What the facts predict, by design and runtime: where the end of a sandbox is not told, evented keeps ghosts.
DEVIATIONS: Final[dict[tuple[Pleg, str], tuple[Deviation, ...]]] = {
    ("evented", "containerd-1.7"): (ghost_between_relists, ghost_of_a_refused_write),
    ("evented", "cri-o"): (ghost_between_relists, ghost_of_a_refused_write),
}


async def churn_then_quiet(pleg: Pleg, runtime: str, seed: int) -> Simulation:
    async with simulate(Plan(settings=Settings(pleg=pleg), runtime=runtime, seed=seed)) as run:
        await anyio.sleep(60)
        await run.quiet_down()
        await wait_until_settled(run)
        predicted = DEVIATIONS.get((pleg, runtime), ())
        unexpected = [d for d in run.differences() if not any(deviation(run, d) for deviation in predicted)]
        assert not unexpected, "\n".join(map(str, unexpected))
        return run


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("pleg", PLEGS)
def test_the_cache_ends_as_the_runtime_is(pleg: Pleg, runtime: str) -> None:
    for seed in range(SEEDS):
        run = run_virtual(churn_then_quiet, pleg, runtime, seed)
        assert len(run.journal) > 200, "the churn hardly happened"
        if pleg != "evented" or runtime in WITHOUT_EVENTS:
            assert breaks_of_path(run.log) == []


def test_the_path_of_events_is_checked() -> None:
    log = Log.__new__(Log)
    log.discarded = []
    log.sent = [(0, PodLifecycleEvent("p", EventType.CONTAINER_STARTED, "c"))] * 2
    assert breaks_of_path(log) == ["ContainerStarted of c, which was running"]
    log.discarded = log.sent[:1]
    assert breaks_of_path(log) == []


async def born_and_gone_between_relists(runtime: str) -> tuple[list[Difference], list[Difference]]:
    """A pod comes and goes half a minute into evented's 300 s: what differs at once, and after the next relist."""
    plan = Plan(settings=Settings(pleg="evented"), runtime=runtime, pods=0, churn=0)
    async with simulate(plan) as run:
        await anyio.sleep(30)
        list(run.workload._come())
        await anyio.sleep(1)
        (pod,) = run.workload._pods.values()
        for _ in run.workload._go(pod):
            await anyio.sleep(0.5)
        await anyio.sleep(1)
        soon = run.differences()
        await anyio.sleep(300)
        return soon, run.differences()


@pytest.mark.parametrize("runtime", ["containerd-1.7", "cri-o"])
def test_evented_keeps_ghosts_where_the_end_of_a_sandbox_is_not_told(runtime: str) -> None:
    soon, later = run_virtual(born_and_gone_between_relists, runtime)
    assert soon
    assert later == soon, "a relist visits records and listed pods alone"


def test_evented_keeps_no_ghost_where_it_is_told() -> None:
    assert run_virtual(born_and_gone_between_relists, "containerd-2.4") == ([], [])


async def ended_during_its_first_inspection(pleg: Pleg) -> list[Difference]:
    """The runtime's events tell of a pod's end while the first relist still inspects it."""
    slow = ["PodSandboxStatus: 1*latency(200ms)->off"]
    plan = Plan(settings=Settings(pleg=pleg), runtime="containerd-1.7", pods=1, churn=0, faults=slow)
    async with simulate(plan) as run:
        await anyio.sleep(0.1)
        (pod,) = run.workload._pods.values()
        for _ in run.workload._go(pod):
            await anyio.sleep(0.02)
        await anyio.sleep(400)
        assert bool(run.log.refused) is (pleg == "evented")
        return run.differences()


def test_evented_keeps_a_ghost_whose_first_inspection_was_overtaken() -> None:
    assert run_virtual(ended_during_its_first_inspection, "evented")
    assert not run_virtual(ended_during_its_first_inspection, "hinted")


async def transitions(pleg: Pleg, runtime: str) -> tuple[int, int]:
    """How many events were sent, and how many of them no path has, over one slow relist."""
    async with simulate(Plan(settings=Settings(pleg=pleg), runtime=runtime)) as run:
        await anyio.sleep(60)
        await run.quiet_down()
        await anyio.sleep(300)
        return len(run.log.sent), len(breaks_of_path(run.log))


def test_evented_reports_transitions_again_at_its_slow_relist() -> None:
    """3.5: records are not advanced by events, so the relist finds them all once more."""
    sent, repeated = run_virtual(transitions, "evented", "containerd-2.4")
    assert repeated > 0
    assert run_virtual(transitions, "hinted", "containerd-2.4")[1] == 0
    assert sent > repeated
