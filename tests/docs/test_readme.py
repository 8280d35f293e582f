"""Every command of the README is run, and shows what the README says. Takes about a minute, in real time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")

#: Run by CI itself, phase by phase.
BY_CI: Final = ("make demo", "make test")
#: Needs root and a real runtime: tests/peers does the same over containerd.
BY_PEERS: Final = "pleg run --runtime-endpoint unix:///run/containerd/containerd.sock --pleg generic"


def commands() -> list[str]:
    """What stands behind a $ in the console blocks, without comments."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [re.sub(r"\s+# .*", "", line) for line in lines]


@pytest.fixture(scope="module")
def session() -> list[str]:
    """What each command printed on standard output; those in the background end with the shell."""
    marker = "--- next ---"
    steps = [f"echo '{marker}'\n{command}" for command in commands() if command not in BY_CI]
    script = "\n".join(["trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT", *steps])
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert "Traceback" not in done.stderr
    return done.stdout.split(marker)[1:]


def printed(session: list[str], part: str) -> list[str]:
    """What the commands with that part in them printed."""
    run = [command for command in commands() if command not in BY_CI]
    return [output for command, output in zip(run, session, strict=True) if part in command]


def test_there_are_two_commands_for_everything_and_ci_runs_both() -> None:
    assert set(BY_CI) <= set(commands())
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert all(command in ci for command in BY_CI)


def test_the_command_over_a_real_runtime_has_a_peer_test() -> None:
    (command,) = re.findall(r"^# (pleg .*)$", README, re.MULTILINE)
    assert command == BY_PEERS
    assert "generic" in (ROOT / "tests/peers/test_containerd16.py").read_text(encoding="utf-8")


def test_metrics_are_a_kubelets(session: list[str]) -> None:
    (metrics,) = printed(session, "/metrics")
    lines = dict(line.split() for line in metrics.splitlines() if line)
    assert int(lines["kubelet_pleg_relist_duration_seconds_count"]) >= 2
    assert 80 <= int(lines["kubelet_running_pods"]) <= 120


def test_a_hung_list_turns_the_node_not_ready_and_back(session: list[str]) -> None:
    hung, healed = (json.loads(text) for text in printed(session, "/node"))
    assert hung["conditions"][0]["status"] == "False"
    assert hung["conditions"][0]["reason"] == "KubeletNotReady"
    assert re.fullmatch(
        r"PLEG is not healthy: pleg was last seen active \d+\.\d+s ago; threshold is 10s",
        hung["conditions"][0]["message"],
    )
    assert {call["rpc"] for call in hung["blocking"]} == {"ListContainers"}
    assert healed["conditions"][0]["status"] == "True"
    assert healed["blocking"] == []
