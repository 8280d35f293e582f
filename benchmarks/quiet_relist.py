"""What one quiet relist costs beside the bare calls below it: `python benchmarks/quiet_relist.py [PODS [CONTAINERS]]`.

The runtime is a process of its own. The two are measured in turns, window by window, and compared as ratios; wall time
is the client's, CPU that of each process. A relist that finds nothing new is what a kubelet does nearly all the time.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio

from cri.clock import MINUTE, Clock
from cri.methods import METHODS
from cri.v1 import api_pb2 as cri
from pleg.bench.child import child
from pleg.hooks import Hooks
from pleg.runtime.client import RuntimeClient
from pleg.runtime.grpc_transport import GrpcTransport
from pleg.runtime.inventory import Inventory

WINDOWS = 15
CALLS = 5


async def main(pods: int = 1000, containers: int = 4) -> None:
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"unix://{Path(folder)}/cri.sock"
        async with child(
            "fake runtime",
            "pleg.bench.runtime_process",
            endpoint=endpoint,
            runtime="containerd-2.4",
            pods=pods,
            containers=containers,
            churn=1,
            seed=1,
        ) as runtime:
            await runtime.ask("mark")
            transport = GrpcTransport(endpoint)
            client = RuntimeClient(transport, Clock.real(), Hooks(), caller="benchmark")
            inventory = Inventory()
            requests = [
                (METHODS["ListPodSandbox"], cri.ListPodSandboxRequest().SerializeToString()),
                (METHODS["ListContainers"], cri.ListContainersRequest().SerializeToString()),
            ]

            async def bare() -> None:
                for method, request in requests:
                    await transport.unary(method, request, timeout_ns=2 * MINUTE)

            async def relist() -> None:
                await client.list_pods(inventory)

            async def window(work: Callable[[], Awaitable[None]]) -> tuple[float, float, float]:
                """Wall, client CPU and runtime CPU of one call of `work`, ms."""
                before, cpu, wall = (await runtime.ask("mark"))["cpu"], time.process_time_ns(), time.perf_counter_ns()
                for _ in range(CALLS):
                    await work()
                wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
                after = (await runtime.ask("mark"))["cpu"]
                return wall / CALLS / 1e6, cpu / CALLS / 1e6, (after - before) / CALLS / 1e6

            begin = time.perf_counter_ns()
            await relist()
            first = (time.perf_counter_ns() - begin) / 1e6
            results: dict[str, list[tuple[float, float, float]]] = {"bare": [], "relist": []}
            for _ in range(WINDOWS):
                results["bare"].append(await window(bare))
                results["relist"].append(await window(relist))
            await transport.aclose()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out = sys.stdout.write
    out(f"{pods} pods x {containers} containers, {WINDOWS} windows of {CALLS} each, medians, ms\n")
    out(f"{'':22}{'wall':>8}{'CPU':>8}{'CPU of runtime':>16}\n")
    for name, text in (("bare", "two bare calls"), ("relist", "one quiet relist")):
        wall, cpu, served = (statistics.median(column) for column in zip(*results[name], strict=True))
        out(f"{text:22}{wall:8.2f}{cpu:8.2f}{served:16.2f}\n")
    ratios = [r[0] / b[0] for b, r in zip(results["bare"], results["relist"], strict=True)]
    out(f"relist / bare, wall: {statistics.median(ratios):.2f}; first lists, everything new: {first:.0f} ms\n")
    out(f"peak memory of the client: {peak:.0f} MB\n")


if __name__ == "__main__":
    anyio.run(partial(main, *(int(argument) for argument in sys.argv[1:3])))
