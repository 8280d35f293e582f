"""What `pleg run` exposes under a kubelet's names, against what a real kubelet 1.37.2 exposes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from .bench_programs import FakeCri, PlegRun
from .exposition import Metrics
from .processes import wait_until
from .standalone_kubelet import Kubelet


@dataclass
class Family:
    """A metric's header lines, and which labels and buckets its samples have."""

    help: str = ""
    type: str = ""
    labels: set[str] = field(default_factory=set)
    buckets: list[str] = field(default_factory=list)


def families(metrics: Metrics) -> dict[str, Family]:
    """The kubelet's metric families of one scrape."""
    found: dict[str, Family] = {}
    for line in metrics.text.splitlines():
        if header := re.match(r"# (HELP|TYPE) (kubelet_\w+) (.*)", line):
            kind, name, text = header.groups()
            setattr(found.setdefault(name, Family()), kind.lower(), text)
    for sample, labels in metrics.samples:
        name = sample if sample in found else re.sub("_(bucket|sum|count)$", "", sample)
        if name in found:
            found[name].labels |= {label for label, _ in labels if label != "le"}
            bound = dict(labels).get("le")
            if bound is not None and bound not in found[name].buckets:
                found[name].buckets.append(bound)
    return found


@pytest.fixture
def both(
    fake_cri: Callable[..., FakeCri], kubelet: Callable[..., Kubelet], pleg_run: Callable[..., PlegRun]
) -> tuple[dict[str, Family], dict[str, Family]]:
    """Ours and theirs, over one runtime in which the kubelet runs two pods."""
    fake = fake_cri()
    node = kubelet(fake.endpoint, evented=True)
    node.add_pods("one", "two")
    wait_until(lambda: len(node.running()) == 2, "two pods run", timeout=60, interval=0.2)
    pleg = pleg_run(fake.endpoint, "--pleg", "generic")
    # A global relist sets these gauges, so it may come after the pods run.
    gauge = "kubelet_running_pods"
    wait_until(lambda: node.metrics()[gauge] == pleg.metrics()[gauge] == 2, "both relisted")
    return families(pleg.metrics()), families(node.metrics())


def test_names_types_texts_labels_and_buckets_are_a_kubelet_s(
    both: tuple[dict[str, Family], dict[str, Family]],
) -> None:
    ours, theirs = both
    assert len(ours) >= 12
    # A vector without children shows no line, so a name that only we show must be such a one.
    assert {name for name in ours if name not in theirs} <= {"kubelet_runtime_operations_errors_total"}
    for name in ours.keys() & theirs.keys():
        assert ours[name] == theirs[name], name
