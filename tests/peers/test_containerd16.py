"""Real pods in Debian's containerd 1.6, which sends no events: relisting follows them, the rest falls back to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from .bench_programs import PlegRun
from .daemons import Containerd
from .processes import wait_until
from .runtime_client import RuntimeClient

LIFE = ["ContainerStarted", "ContainerDied", "ContainerRemoved"]
FALLBACK = "Fall back to Generic PLEG relisting since Evented PLEG is not working"
HINTS_OFF = "Evented PLEG: disabling container-termination fast path after exhausting event stream retries"


@pytest.fixture
def runtime(containerd16: Containerd) -> Iterator[RuntimeClient]:
    """A client of the daemon."""
    with RuntimeClient(containerd16.endpoint) as client:
        yield client


def reported(pleg: PlegRun, container: str) -> list[str]:
    """The types of all events for one id, in order."""
    return [event.type for event in pleg.events() if event.id == container]


def follow_one_life(pleg: PlegRun, runtime: RuntimeClient, seconds: float = 2.5) -> str:
    """A container that lives longer than two relists take, ends with code 3 and is removed; its id."""
    pod = runtime.run_pod("life")
    container = pod.start("main", "sh", "-c", f"sleep {seconds}; exit 3")
    pleg.wait_for_event("ContainerStarted", container)
    pleg.wait_for_event("ContainerDied", container)
    pod.remove()
    pleg.wait_for_event("ContainerRemoved", container)
    assert reported(pleg, container) == LIFE
    return container


def exit_code_in_log(pleg: PlegRun, container: str, code: int) -> bool:
    """Whether its log has the kubelet's line for a container that ended."""
    return pleg.program.said(rf"container finished.*{container}.*exitCode\W+{code}\b") is not None


def test_generic_reports_each_change(
    containerd16: Containerd, runtime: RuntimeClient, pleg_run: Callable[..., PlegRun]
) -> None:
    pleg = pleg_run(containerd16.endpoint, "--pleg", "generic")
    pod = runtime.run_pod("pod")
    sleeper = pod.start("sleeper")
    failing = pod.start("failing", "sh", "-c", "sleep 2.5; exit 3")
    for container in (pod.sandbox, sleeper, failing):
        pleg.wait_for_event("ContainerStarted", container)
    assert pleg.metrics()["kubelet_running_pods"] == 1
    assert pleg.metrics().by_label("kubelet_running_containers", "container_state") == {"running": 2}

    pleg.wait_for_event("ContainerDied", failing)
    wait_until(lambda: exit_code_in_log(pleg, failing, 3), "the log tells exit code 3")
    runtime.call("StopContainer", container_id=sleeper, timeout=0)
    pleg.wait_for_event("ContainerDied", sleeper)
    wait_until(lambda: exit_code_in_log(pleg, sleeper, 137), "the log tells exit code 137")

    restarted = pod.start("failing", attempt=1)
    pleg.wait_for_event("ContainerStarted", restarted)
    runtime.call("RemoveContainer", container_id=failing)
    pleg.wait_for_event("ContainerRemoved", failing)
    pod.remove()
    for container in (pod.sandbox, sleeper, restarted):
        pleg.wait_for_event("ContainerRemoved", container)

    for container in (pod.sandbox, sleeper, failing, restarted):
        assert reported(pleg, container) == LIFE
    wait_until(lambda: pleg.metrics()["kubelet_running_pods"] == 0, "no pod runs")
    failed = pleg.metrics().by_label("kubelet_runtime_operations_errors_total", "operation_type")
    assert not failed.keys() & {"list_podsandbox", "list_containers", "status"}


def test_pods_that_were_there_before_are_found(
    containerd16: Containerd, runtime: RuntimeClient, pleg_run: Callable[..., PlegRun]
) -> None:
    pod = runtime.run_pod("early")
    ended, running = pod.start("ended", "true"), pod.start("running")
    exited = {"ended": 2, "running": 1}
    wait_until(lambda: {c.metadata.name: c.state for c in runtime.containers()} == exited, "one ended, one runs")
    pleg = pleg_run(containerd16.endpoint, "--pleg", "generic")
    # A kubelet that starts reports what lives as started, and every dead container as died.
    pleg.wait_for_event("ContainerStarted", running)
    pleg.wait_for_event("ContainerDied", ended)
    assert reported(pleg, ended) == ["ContainerDied"]


def test_evented_falls_back_and_goes_on(
    containerd16: Containerd, runtime: RuntimeClient, pleg_run: Callable[..., PlegRun]
) -> None:
    pleg = pleg_run(containerd16.endpoint, "--pleg", "evented", "--kubelet-healthz", "off")
    pleg.program.wait_for(re.escape(FALLBACK))
    metrics = pleg.metrics()
    # The connection stands, so that a stream object exists each time before UNIMPLEMENTED arrives (peers: 5 and 5).
    assert metrics["kubelet_evented_pleg_connection_error_count"] == 5
    assert metrics["kubelet_evented_pleg_connection_success_count"] == 5
    container = follow_one_life(pleg, runtime)
    wait_until(lambda: exit_code_in_log(pleg, container, 3), "the log tells exit code 3")
    before = pleg.metrics()["kubelet_pleg_relist_duration_seconds_count"]
    wait_until(
        lambda: pleg.metrics()["kubelet_pleg_relist_duration_seconds_count"] >= before + 3, "relists go on", timeout=6
    )


def test_hinted_loses_its_hints_alone(
    containerd16: Containerd, runtime: RuntimeClient, pleg_run: Callable[..., PlegRun]
) -> None:
    pleg = pleg_run(containerd16.endpoint, "--pleg", "hinted", "--kubelet-healthz", "off")
    pleg.program.wait_for(re.escape(HINTS_OFF))
    assert pleg.metrics()["kubelet_evented_pleg_connection_error_count"] == 5
    follow_one_life(pleg, runtime)


def test_polling_follows_too(
    containerd16: Containerd, runtime: RuntimeClient, pleg_run: Callable[..., PlegRun]
) -> None:
    pleg = pleg_run(containerd16.endpoint, "--pleg", "polling", "--poll-period", "1s")
    # A new pod is found by one period's listing, and its containers by its worker's next.
    follow_one_life(pleg, runtime, seconds=5)
