"""ListContainers hangs while all else answers: from the last good relist to NotReady and back, in virtual time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import anyio

from cri.clock import MINUTE, SECOND, seconds
from cri.virtual_time import run_virtual, virtual_clock
from pleg.kubelet import Settings
from pleg.simulation.run import Plan, simulate
from pleg.simulation.timeline import Entry, Timeline

#: Calls of ListContainers that are answered before the first one hangs, and how long it and all later ones are held.
_GOOD_CALLS: Final = 20
_HANG: Final = 7 * MINUTE


@dataclass(frozen=True, slots=True)
class HungList:
    """What happened. Times are ns since the last good relist began."""

    entries: list[Entry]
    threshold: int
    virtual_duration: int


def hung_list(*, seed: int = 1) -> HungList:
    """A generic PLEG with the kubelet's numbers, three pods, and a list that hangs for seven minutes."""
    return run_virtual(_run, seed)


async def _run(seed: int) -> HungList:
    plan = Plan(
        settings=Settings(pleg="generic"),
        pods=3,
        containers=1,
        churn=0,
        faults=[f"ListContainers: {_GOOD_CALLS}*off->hang({_HANG // SECOND}s)->off"],
        seed=seed,
    )
    timeline = Timeline(virtual_clock())
    async with simulate(plan, [timeline]) as run:
        await anyio.sleep(seconds(_HANG) + 60)
        begin = timeline.last_good
        duration = run.clock.monotonic()
    entries = [Entry(entry.at - begin, entry.part, entry.text) for entry in timeline.entries() if entry.at >= begin]
    return HungList(entries, plan.settings.relist_threshold, duration)
