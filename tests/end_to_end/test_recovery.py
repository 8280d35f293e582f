"""Whatever the runtime does, the node does not crash, says so in the kubelet's words, and recovers by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cri.clock import MILLISECOND
from pleg.kubelet import PLEGS, Pleg
from tests.end_to_end.conftest import Bench, running, until

pytestmark = pytest.mark.anyio

UNABLE = "GenericPLEG: Unable to retrieve pods"


def unable(pleg: Pleg) -> str:
    return "Unable to list pods" if pleg == "polling" else UNABLE


@pytest.mark.parametrize("pleg", PLEGS)
async def test_a_socket_that_is_missing_at_first(pleg: Pleg, tmp_path: Path) -> None:
    async with running(Bench(tmp_path / "cri.sock", pleg)) as bench:
        await until(lambda: bench.log.has(unable(pleg), "connect: no such file or directory"))
        async with bench.serve():
            await until(bench.agrees)


@pytest.mark.parametrize("pleg", PLEGS)
async def test_a_runtime_that_is_killed_and_comes_back_with_other_pods(pleg: Pleg, tmp_path: Path) -> None:
    async with running(Bench(tmp_path / "cri.sock", pleg)) as bench:
        async with bench.serve(seed=1):
            await until(bench.agrees)
        await until(lambda: bench.log.has(unable(pleg), "Unavailable"))
        async with bench.serve(seed=2):
            await until(bench.agrees)
    if pleg == "evented":
        assert bench.log.has("Fall back to Generic PLEG relisting since Evented PLEG is not working")
    if pleg == "hinted":
        assert bench.log.has("Evented PLEG: disabling container-termination fast path")


@pytest.mark.parametrize("pleg", ["evented", "hinted"])
async def test_the_cure_finds_the_stream_again(pleg: Pleg, tmp_path: Path) -> None:
    backoff = (10 * MILLISECOND, 100 * MILLISECOND)
    bench = Bench(tmp_path / "cri.sock", pleg, stream_retries=None, stream_backoff=backoff)
    async with running(bench):
        async with bench.serve(seed=1):
            await until(bench.agrees)
        await until(lambda: bench.log.has(UNABLE))
        async with bench.serve(seed=2) as runtime:
            await until(bench.agrees)
            await until(lambda: runtime.counts.get("GetContainerEvents") is not None)
    assert not bench.log.has("Fall back")
    assert not bench.log.has("disabling")


@pytest.mark.parametrize("pleg", PLEGS)
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("garbage", "code = Internal desc = grpc: failed to unmarshal the received message"),
        ("oversized", "code = ResourceExhausted desc = grpc: received message larger than max"),
        ("error(unavailable)", "code = Unavailable"),
    ],
)
async def test_a_list_that_is_not_one(pleg: Pleg, fault: str, words: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "cri.sock", pleg)
    rpc = "ListPodSandbox" if pleg == "polling" else "ListContainers"
    async with bench.serve(f"{rpc}: 3*{fault}->off"), running(bench):
        await until(lambda: bench.log.has(unable(pleg), words))
        await until(bench.agrees)


@pytest.mark.parametrize("pleg", PLEGS)
async def test_statuses_that_are_garbage(pleg: Pleg, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "cri.sock", pleg)
    async with (
        bench.serve("ContainerStatus: 3*garbage->off", "PodSandboxStatus: 2*error(unknown)->off"),
        running(bench),
    ):
        await until(bench.agrees)
    if pleg != "polling":
        assert bench.log.has("PLEG: Write status", "failed to unmarshal")


@pytest.mark.parametrize("pleg", ["evented", "hinted"])
async def test_an_event_that_is_garbage_ends_the_stream_and_costs_one_attempt(pleg: Pleg, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "cri.sock", pleg)
    async with bench.serve("GetContainerEvents: 1*garbage->off"), running(bench):
        await until(bench.agrees)
        await until(lambda: bench.log.has("failed to receive streaming container event", "failed to unmarshal"))
        assert bench.kubelet.stream is not None
        assert bench.kubelet.stream.attempts == 1


@pytest.mark.parametrize("stream_lists", ["on", "auto"])
async def test_a_list_of_17_mib_arrives_as_a_stream(stream_lists: Any, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "cri.sock", "generic", stream_lists=stream_lists)
    async with bench.serve("ListContainers: oversized"), running(bench):
        await until(bench.agrees)
    assert bench.runtime is not None
    assert ("ListContainers" in bench.runtime.counts) is (stream_lists == "auto")


async def test_streamed_lists_go_unary_for_good_where_they_are_not_implemented(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "cri.sock", "generic", stream_lists="on")
    async with bench.serve(runtime="containerd-1.6") as runtime, running(bench):
        await until(bench.agrees)
        await until(lambda: runtime.counts["ListPodSandbox"].calls > 5)
        assert runtime.counts["StreamPodSandboxes"].calls == 1
