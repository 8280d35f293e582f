"""`pleg demo`, made small: figures for machines, refusals of what makes no sense."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PLEG = Path(sys.executable).parent / "pleg"


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PLEG, "demo", *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_two_designs_small_and_for_a_machine() -> None:
    small = ("--pleg", "hinted,generic", "--pods", "3", "--churn", "5/s", "--window", "1s", "--json")
    done = demo(*small)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert [design["pleg"] for design in figures["designs"]] == ["generic", "hinted"]
    for design in figures["designs"]:
        assert design["outcomes"]["unexplained"] == 0
        assert design["differences"] == []
        assert design["rpcs_per_second"] > 1
    texts = [entry["text"] for entry in figures["hung_list"]]
    assert any("Ready False (KubeletNotReady): PLEG is not healthy" in text for text in texts)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pleg", ""], "'' is none of"),
        (["--churn", "some"], "'some' is no rate"),
        (["--churn", "0"], "'0' is no rate"),
        (["--pleg", "psychic"], "'psychic' is none of polling, generic, evented, hinted"),
        (["--window", "soon"], "'soon' is no duration"),
        (["--window", "0s"], "must be more than 0s"),
        (["--runtime", "rkt"], "rkt"),
        (["--pods", "0"], "--pods"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(arguments: list[str], words: str) -> None:
    done = demo(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 1), (signal.SIGHUP, 1)])
def test_a_signal_ends_it_with_all_its_processes_and_files(number: int, code: int, tmp_path: Path) -> None:
    command = [str(PLEG), "demo", "--pleg", "generic", "--pods", "2", "--window", "60s"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        until(lambda: any(path.is_socket() for path in tmp_path.rglob("*")))
        os.kill(process.pid, number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert "nothing was saved" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)
