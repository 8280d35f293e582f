"""The files under deploy/prometheus: valid, doing what they say, and about metrics that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pleg.observe.metrics import Metrics

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize("args", [("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")])
def test_promtool_agrees(args: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *args], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_in_our_metrics_what_it_finds_in_a_kubelets() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=Metrics("n").render(), capture_output=True, check=False
    )
    # These three names are the kubelet's own.
    assert {line.split()[0] for line in done.stderr.decode().splitlines()} == {
        "kubelet_pleg_discard_events",
        "kubelet_evented_pleg_connection_error_count",
        "kubelet_evented_pleg_connection_success_count",
    }


def test_rules_are_about_metrics_that_exist() -> None:
    rules = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
    named = set(re.findall(r"\bkubelet_\w+", " ".join(rule["expr"] for g in rules["groups"] for rule in g["rules"])))
    text = Metrics("n").render().decode()
    assert all(
        re.search(rf"^{name}\b", text, re.MULTILINE) for name in named - {"kubelet_pleg_relist_duration_seconds"}
    )
    assert "kubelet_pleg_last_seen_seconds" in named


def test_the_labels_that_the_mixin_selects() -> None:
    (job,) = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    assert job["job_name"] == "kubelet"
    assert job["static_configs"] == [{"targets": ["127.0.0.1:9815"], "labels": {"cluster": "bench"}}]
    assert {rule["target_label"]: rule["source_labels"] for rule in job["relabel_configs"]} == {
        "metrics_path": ["__metrics_path__"]
    }
