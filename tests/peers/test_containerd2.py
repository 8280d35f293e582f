"""Real pods and their real events in containerd 2.4.2."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator

import pytest

from .bench_programs import PlegRun
from .daemons import Containerd
from .processes import wait_until
from .runtime_client import RuntimeClient

ERRORS = "kubelet_evented_pleg_connection_error_count"
SUCCESSES = "kubelet_evented_pleg_connection_success_count"
LATENCIES = "kubelet_evented_pleg_connection_latency_seconds_count"
RELISTS = "kubelet_pleg_relist_duration_seconds_count"
POD_RELISTS = "kubelet_pleg_pod_relist_duration_seconds_count"


@pytest.fixture
def runtime(containerd2: Containerd) -> Iterator[RuntimeClient]:
    """A client of the daemon."""
    with RuntimeClient(containerd2.endpoint) as client:
        yield client


@pytest.fixture
def run(containerd2: Containerd, pleg_run: Callable[..., PlegRun]) -> Callable[..., PlegRun]:
    """Starts `pleg run` over the daemon with an open event stream."""

    def start(*flags: str) -> PlegRun:
        pleg = pleg_run(containerd2.endpoint, "--kubelet-healthz", "off", *flags)
        wait_until(lambda: pleg.metrics()[SUCCESSES] == 1, "the stream is open")
        wait_until(lambda: pleg.metrics()[RELISTS] >= 1, "the first relist is done")
        return pleg

    return start


def delay(pleg: PlegRun, runtime: RuntimeClient, container: str) -> float:
    """Seconds from a container's end, as the runtime tells it, to the Died event."""
    pleg.wait_for_event("ContainerDied", container)
    finished: int = runtime.call("ContainerStatus", container_id=container).status.finished_at
    died = next(event for event in pleg.events() if event.type == "ContainerDied" and event.id == container)
    return (died.time_ns - finished) / 1e9


def test_evented_follows_the_stream(runtime: RuntimeClient, run: Callable[..., PlegRun]) -> None:
    pleg = run("--pleg", "evented")
    relists = pleg.metrics()[RELISTS]
    pod = runtime.run_pod("pod")
    pleg.wait_for_event("ContainerStarted", pod.sandbox)
    failing = pod.start("failing", "sh", "-c", "sleep 0.5; exit 3")
    pleg.wait_for_event("ContainerStarted", failing)
    assert delay(pleg, runtime, failing) < 5
    sleeper = pod.start("sleeper")
    runtime.call("StopContainer", container_id=sleeper, timeout=0)
    assert delay(pleg, runtime, sleeper) < 5
    runtime.call("RemoveContainer", container_id=failing)
    pleg.wait_for_event("ContainerRemoved", failing)
    pod.remove()
    for container in (sleeper, pod.sandbox):
        pleg.wait_for_event("ContainerRemoved", container)

    metrics = pleg.metrics()
    # Global relists come every 300 s only: all that was told came by the stream.
    assert metrics[RELISTS] == relists
    assert (metrics[SUCCESSES], metrics[ERRORS]) == (1, 0)
    # Of the sandbox four events, of each container four.
    assert metrics[LATENCIES] >= 12


def test_hinted_sees_a_death_before_the_next_relist(runtime: RuntimeClient, run: Callable[..., PlegRun]) -> None:
    pleg = run("--pleg", "hinted")
    pod = runtime.run_pod("pod")
    delays = []
    for attempt in range(7):
        container = pod.start("main", attempt=attempt)
        pleg.wait_for_event("ContainerStarted", container)
        runtime.call("StopContainer", container_id=container, timeout=0)
        delays.append(delay(pleg, runtime, container))
    # Relisting each second alone would give half a second in the mean.
    assert statistics.median(delays) < 0.25, delays
    metrics = pleg.metrics()
    assert (metrics[SUCCESSES], metrics[ERRORS]) == (1, 0)
    assert metrics[POD_RELISTS] >= 1
    assert metrics[LATENCIES] >= 2 + 3 * 7
    pod.remove()
    pleg.wait_for_event("ContainerRemoved", pod.sandbox)


@pytest.mark.parametrize(
    ("generator", "farewell"),
    [
        ("evented", "Fall back to Generic PLEG relisting since Evented PLEG is not working"),
        ("hinted", "Evented PLEG: disabling container-termination fast path after exhausting event stream retries"),
    ],
)
def test_one_restart_of_the_runtime_ends_the_stream_for_good(
    containerd2: Containerd, runtime: RuntimeClient, run: Callable[..., PlegRun], generator: str, farewell: str
) -> None:
    pleg = run("--pleg", generator)
    containerd2.restart()
    pleg.program.wait_for(re.escape(farewell))
    # The stream's end and four dials of a socket that is gone: no stream object, no success.
    metrics = pleg.metrics()
    assert (metrics[SUCCESSES], metrics[ERRORS]) == (1, 5)
    pod = runtime.run_pod("after")
    container = pod.start("main")
    pleg.wait_for_event("ContainerStarted", container)
    runtime.call("StopContainer", container_id=container, timeout=0)
    pleg.wait_for_event("ContainerDied", container)


@pytest.mark.parametrize("generator", ["evented", "hinted"])
def test_unlimited_retries_bring_the_stream_back(
    containerd2: Containerd, runtime: RuntimeClient, run: Callable[..., PlegRun], generator: str
) -> None:
    pleg = run("--pleg", generator, "--stream-retries", "unlimited", "--stream-backoff", "1s..60s")
    containerd2.restart()
    wait_until(lambda: pleg.metrics()[SUCCESSES] >= 2, "the stream is open again")
    latencies = pleg.metrics()[LATENCIES]
    pod = runtime.run_pod("after")
    container = pod.start("main")
    pleg.wait_for_event("ContainerStarted", container)
    runtime.call("StopContainer", container_id=container, timeout=0)
    pleg.wait_for_event("ContainerDied", container)
    wait_until(lambda: pleg.metrics()[LATENCIES] > latencies, "events come again")
