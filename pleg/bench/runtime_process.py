"""The fake runtime as a measured process: `python -m pleg.bench.runtime_process SETTINGS`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import anyio

from cri.clock import Clock
from fake_cri.journal import Change
from fake_cri.listening import parse_address
from fake_cri.profiles import load_profile
from fake_cri.runtime import FakeRuntime
from fake_cri.server import serving
from fake_cri.workload import Workload
from pleg.bench.child import answer, settings


async def main(endpoint: str, runtime: str, pods: int, containers: int, churn: float, seed: int) -> None:
    """Serve, and churn between `churn` and `quiet`."""
    journal: list[Change] = []
    fake = FakeRuntime(load_profile(runtime), clock=Clock.real(), seed=seed, journal=journal.append)
    workload = Workload(fake, pods=pods, containers=containers, churn=churn, seed=seed)
    workload.populate()
    async with serving(fake, parse_address(endpoint)), anyio.create_task_group() as tasks:

        async def start_churn() -> None:
            tasks.start_soon(workload.run)

        async def quiet() -> None:
            workload.stop_churn()
            while not workload.quiet:  # noqa: ASYNC110 - a poll of one flag, for a measurement that is over
                await anyio.sleep(0.01)

        async def mark() -> dict[str, Any]:
            return {"cpu": time.process_time_ns(), "now": fake.clock.now(), "changes": len(journal)}

        async def truth() -> dict[str, Any]:
            return {"journal": [asdict(change) for change in journal], "states": dict(fake.snapshot())}

        await answer({"churn": start_churn, "quiet": quiet, "mark": mark, "truth": truth})
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    wanted = settings()
    anyio.run(lambda: main(**wanted))
