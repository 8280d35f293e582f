"""A real kubelet 1.37.2 over fake-cri: a client that no fake may disappoint, and the measure of our own relisting."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from .bench_programs import FakeCri, PlegRun
from .processes import Program, wait_until
from .runtime_client import RuntimeClient
from .standalone_kubelet import Kubelet, pods_by_name

PODS = [f"pod-{number}" for number in range(30)]
ERRORS = "kubelet_evented_pleg_connection_error_count"
SUCCESSES = "kubelet_evented_pleg_connection_success_count"
LATENCIES = "kubelet_evented_pleg_connection_latency_seconds_count"
RELISTS = "kubelet_pleg_relist_duration_seconds_count"

#: What a kubelet logs as an error when a runtime disappoints it.
COMPLAINT = re.compile(
    r"^E\d{4} .*(GenericPLEG|Evented PLEG|PLEG: Write status|PLEG is not healthy|Relist request channel full"
    r"|Error syncing pod|runtime service failed|image service failed|Observed a panic).*$",
    re.MULTILINE,
)
#: And what it logs with any runtime: at its start, and when its garbage collector and its deleter meet.
HARMLESS = re.compile("pleg has yet to be successful|code = NotFound")


class Rate:
    """How often a counter grew per second: from its first increase seen to its last, so that no period is cut."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._last = read()
        self.increases: list[tuple[float, float]] = []

    def look(self) -> None:
        value = self._read()
        if value != self._last:
            self.increases.append((time.monotonic(), value))
            self._last = value

    @property
    def per_second(self) -> float:
        assert len(self.increases) >= 10, f"it grew at {self.increases} only"
        (first, low), (last, high) = self.increases[0], self.increases[-1]
        return (high - low) / (last - first)


def relists_per_second(*readers: Callable[[], float], window: float = 20.0) -> list[float]:
    """The rates of several counters over one window."""
    rates = [Rate(read) for read in readers]
    end = time.monotonic() + window
    while time.monotonic() < end:
        for rate in rates:
            rate.look()
        time.sleep(0.1)
    return [rate.per_second for rate in rates]


def running(program: Kubelet | PlegRun) -> tuple[float, dict[str, float]]:
    """The gauges of what runs."""
    metrics = program.metrics()
    return metrics["kubelet_running_pods"], metrics.by_label("kubelet_running_containers", "container_state")


def container_id(status: Mapping[str, Any]) -> str:
    """The runtime's own id, without the runtime's name."""
    return str(status["containerID"]).removeprefix("containerd://")


def containers_in(pods: Mapping[str, Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """What is said of a pod's containers, as far as a PLEG can know it."""
    fields = ("name", "state", "lastState", "ready", "restartCount", "image", "imageID", "started", "containerID")
    return [{field: status.get(field) for field in fields} for status in pods[name]["status"]["containerStatuses"]]


def complaints(kubelet: Program) -> list[str]:
    """The lines of its log that say something is wrong with the runtime."""
    lines = (match[0] for match in COMPLAINT.finditer(kubelet.output))
    return [line for line in lines if not HARMLESS.search(line)]


@pytest.mark.parametrize("evented", [False, True], ids=["events off", "events on"])
def test_a_kubelet_lives_on_the_fake(
    fake_cri: Callable[..., FakeCri], kubelet: Callable[..., Kubelet], pleg_run: Callable[..., PlegRun], evented: bool
) -> None:
    fake = fake_cri()
    node = kubelet(fake.endpoint, evented=evented)
    node.add_pods(*PODS)
    wait_until(lambda: node.running().keys() == set(PODS), "all static pods run", timeout=90, interval=0.5)
    latencies = node.metrics().get(LATENCIES)

    victim = node.running()["pod-7"]
    assert victim["restartCount"] == 0
    with RuntimeClient(fake.endpoint) as runtime:
        runtime.call("StopContainer", container_id=container_id(victim), timeout=0)

    def restarted() -> bool:
        now = node.running().get("pod-7")
        return now is not None and now["restartCount"] == 1 and container_id(now) != container_id(victim)

    wait_until(restarted, "the killed container is back", timeout=60, interval=0.2)
    assert all(status["restartCount"] == 0 for name, status in node.running().items() if name != "pod-7")

    metrics = node.metrics()
    assert metrics[ERRORS] == 0
    if evented:
        assert metrics[SUCCESSES] == 1
        wait_until(lambda: node.metrics()[LATENCIES] > latencies, "events are processed")
    else:
        assert (metrics[SUCCESSES], metrics[LATENCIES]) == (0, 0)

    pleg = pleg_run(fake.endpoint, "--pleg", "generic")
    wait_until(lambda: running(pleg)[0] == len(PODS), "pleg sees all pods")
    theirs, ours = relists_per_second(lambda: node.metrics()[RELISTS], lambda: pleg.metrics()[RELISTS])
    assert ours == pytest.approx(theirs, rel=0.1)
    # The killed container's remains stay listed: a kubelet keeps one dead container of each name.
    assert running(node) == running(pleg) == (len(PODS), {"running": len(PODS), "exited": 1})

    mine = pods_by_name(pleg.url)
    assert mine.keys() == node.pods().keys()
    for name in ("pod-0", "pod-7"):
        assert containers_in(mine, name) == containers_in(node.pods(), name)

    node.remove_pods(*PODS[:10])
    left = set(PODS[10:])
    wait_until(lambda: node.pods().keys() == left, "removed manifests' pods are gone", timeout=60, interval=0.5)
    wait_until(lambda: running(node)[0] == running(pleg)[0] == len(left), "both see them gone", timeout=30)

    node.program.check_alive()
    pleg.program.check_alive()
    assert complaints(node.program) == []


def test_pleg_refuses_to_open_a_second_stream_beside_a_kubelet(
    fake_cri: Callable[..., FakeCri], kubelet: Callable[..., Kubelet], pleg_run: Callable[..., PlegRun]
) -> None:
    fake = fake_cri()
    node = kubelet(fake.endpoint, evented=True)
    with pytest.raises(AssertionError, match=r"ended \([1-9]\d*\)[\s\S]*kubelet"):
        pleg_run(fake.endpoint, "--pleg", "hinted", "--kubelet-healthz", f"{node.url}/healthz")
    shared = pleg_run(fake.endpoint, "--pleg", "hinted", "--kubelet-healthz", f"{node.url}/healthz", "--share-events")
    wait_until(lambda: shared.metrics()[SUCCESSES] == 1, "the second stream is open")
