"""Prometheus over `pleg run`: it is scraped as a kubelet is, with the labels that the kubelet's dashboards expect."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from .bench_programs import FakeCri, PlegRun
from .processes import ROOT, Program, fetch, free_port, wait_until
from .standalone_kubelet import Kubelet

CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"

#: What promtool says of the real kubelet's own metrics that `pleg run` has too, with kubelet 1.37.2.
KUBELET_LINT = {
    ("kubelet_evented_pleg_connection_error_count", 'counter metrics should have "_total" suffix'),
    (
        "kubelet_evented_pleg_connection_error_count",
        'non-histogram and non-summary metrics should not have "_count" suffix',
    ),
    ("kubelet_evented_pleg_connection_success_count", 'counter metrics should have "_total" suffix'),
    (
        "kubelet_evented_pleg_connection_success_count",
        'non-histogram and non-summary metrics should not have "_count" suffix',
    ),
    ("kubelet_pleg_discard_events", 'counter metrics should have "_total" suffix'),
}


def lint(promtool: str, text: str) -> set[tuple[str, str]]:
    """What `promtool check metrics` complains of: metric and words."""
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    complaints = set()
    for line in (done.stdout + done.stderr).splitlines():
        metric, _, words = line.partition(" ")
        complaints.add((metric, words))
    # It ends with 3 for mere complaints, with 1 for what it cannot read.
    assert done.returncode == (3 if complaints else 0), done.stderr
    return complaints


@pytest.fixture
def pleg(fake_cri: Callable[..., FakeCri], pleg_run: Callable[..., PlegRun]) -> PlegRun:
    """`pleg run` over a small fake node with some churn, so that every vector has children."""
    return pleg_run(fake_cri("--pods", "5", "--churn", "5/s").endpoint, "--pleg", "generic", "--node-name", "peer-node")


class Prometheus:
    """A running Prometheus that scrapes `pleg run` by the shipped configuration."""

    def __init__(self, prometheus: str, folder: Path, target: str) -> None:
        folder.mkdir()
        self.url = f"http://127.0.0.1:{free_port()}"
        config = yaml.safe_load(CONFIG.read_text())
        config["global"] = {**config["global"], "scrape_interval": "1s", "evaluation_interval": "1s"}
        for job in config["scrape_configs"]:
            for targets in job["static_configs"]:
                targets["targets"] = [target]
        # Rule files are named relative to the configuration.
        config["rule_files"] = [str(CONFIG.parent / rules) for rules in config["rule_files"]]
        path = folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        self.program = Program(
            [
                prometheus,
                f"--config.file={path}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            folder / "prometheus.log",
        )

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query, empty while nobody answers."""
        self.program.check_alive()
        text = fetch(f"{self.url}/api/v1/query?{urlencode({'query': expression})}")
        result: list[dict[str, Any]] = json.loads(text)["data"]["result"] if text else []
        return result


@pytest.mark.parametrize(
    "command", [("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")], ids=["config", "rules"]
)
def test_what_is_shipped_for_prometheus_is_valid(promtool: str, command: tuple[str, str, str]) -> None:
    *verb, file = command
    done = subprocess.run(
        [promtool, *verb, CONFIG.parent / file], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_scrapes_pleg_as_a_kubelet(
    prometheus: str, pleg: PlegRun, folder: Path, end_with_test: Callable[..., None]
) -> None:
    target = pleg.url.removeprefix("http://")
    server = Prometheus(prometheus, folder / "prometheus", target)
    end_with_test(server.program, server.program.stop)

    def is_up() -> bool:
        return [sample["value"][1] for sample in server.query("up")] == ["1"]

    wait_until(is_up, "the target is up", interval=0.2)

    def relists() -> dict[str, str] | None:
        samples = server.query("kubelet_pleg_relist_duration_seconds_count")
        return next((sample["metric"] for sample in samples if float(sample["value"][1]) >= 2), None)

    labels = wait_until(relists, "relists are counted", interval=0.2)
    assert labels["job"] == "kubelet"
    assert labels["metrics_path"] == "/metrics"
    assert labels["instance"] == target
    assert labels["cluster"]

    # The kubernetes-mixin's own series: durations by instance, joined with the node's name.
    def quantiles() -> set[tuple[str, str]]:
        samples = server.query("node_quantile:kubelet_pleg_relist_duration_seconds:histogram_quantile")
        return {(s["metric"]["node"], s["metric"]["quantile"]) for s in samples if 0 < float(s["value"][1]) < 10}

    wanted = {("peer-node", quantile) for quantile in ("0.5", "0.9", "0.99")}
    wait_until(lambda: quantiles() == wanted, "the recorded quantiles have the node's name", interval=0.5)


def test_promtool_finds_nothing_that_a_kubelet_does_not_have(promtool: str, pleg: PlegRun) -> None:
    wait_until(lambda: pleg.metrics()["kubelet_pleg_relist_duration_seconds_count"] >= 3, "some relists")
    assert lint(promtool, pleg.metrics().text) <= KUBELET_LINT


def test_the_known_complaints_are_the_real_kubelet_s(
    promtool: str, fake_cri: Callable[..., FakeCri], kubelet: Callable[..., Kubelet]
) -> None:
    assert lint(promtool, kubelet(fake_cri().endpoint).metrics().text) >= KUBELET_LINT
