"""A node under the faults of its runtime: what becomes of it is the same in every run, and it recovers."""

from __future__ import annotations

import anyio
import pytest

from cri.virtual_time import run_virtual
from pleg.kubelet import Pleg, Settings
from pleg.simulation.run import Plan, simulate

FAULTS = (
    "Runtime @10s: restart(5s,lost)",
    "Runtime @20s..25s: crash",
    "Runtime @30s: clock_step(-1h)",
    "ContainerStatus[container=app]: latency(exponential(20ms)) p=0.5",
    "ListContainers @35s..40s: error(unavailable)",
    "Event: 50*drop p=0.3->20*reorder(2s)->off",
)


async def lived(pleg: Pleg, seed: int) -> tuple[list[str], int, list[str]]:
    """The events read, relists that failed, and in what the cache is wrong at the end."""
    settings = Settings(pleg=pleg)
    async with simulate(Plan(settings=settings, pods=10, churn=3, faults=FAULTS, seed=seed)) as run:
        await anyio.sleep(60)
        await run.quiet_down()
        await anyio.sleep(5)
        failed = sum(error is not None for _, _, error in run.log.relists)
        return run.log.lines, failed, [str(difference) for difference in run.differences()]


@pytest.mark.parametrize("pleg", ["generic", "hinted"])
def test_relisting_recovers_from_all_of_them(pleg: Pleg) -> None:
    lines, failed, wrong = run_virtual(lived, pleg, 1)
    assert failed >= 10
    assert wrong == []
    assert run_virtual(lived, pleg, 1) == (lines, failed, wrong)
    assert run_virtual(lived, pleg, 2)[0] != lines
