"""The same seed gives the same log, byte for byte, in every process; another seed gives another log."""

from __future__ import annotations

import os
import subprocess
import sys

import anyio
import pytest

from cri.virtual_time import run_virtual
from pleg.kubelet import PLEGS, Pleg, Settings
from pleg.simulation.run import Plan, simulate


async def event_log(pleg: Pleg, seed: int) -> str:
    async with simulate(Plan(settings=Settings(pleg=pleg), pods=5, seed=seed)) as run:
        await anyio.sleep(20)
        return "\n".join([*run.log.lines, *(change.json() for change in run.journal)])


@pytest.mark.parametrize("pleg", PLEGS)
def test_the_same_seed_gives_the_same_log(pleg: Pleg) -> None:
    first = run_virtual(event_log, pleg, 1)
    assert first.count("ContainerDied") > 5
    assert [run_virtual(event_log, pleg, 1) for _ in range(4)] == [first] * 4
    assert run_virtual(event_log, pleg, 2) != first


@pytest.mark.parametrize("pleg", PLEGS)
def test_the_order_of_hashes_does_not_matter(pleg: Pleg) -> None:
    """Sets of strings are ordered otherwise in each process."""
    code = (
        "from cri.virtual_time import run_virtual; from tests.simulation.test_determinism import event_log; "
        f"print(run_virtual(event_log, {pleg!r}, 1))"
    )
    logs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(logs) == 1
