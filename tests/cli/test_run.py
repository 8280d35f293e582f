"""`pleg run` as a process: signals, files, ports, exit codes, and a runtime that comes, goes and is watched."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TypeVar

import pytest

#: What no test waits longer for, in s: only a broken one gets there.
PATIENCE = 20.0


class Pleg:
    """One `pleg run`. Its stderr is read by a thread, so that it never stands still."""

    def __init__(self, *args: str, stdout: int | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import sys; from pleg.cli import main; sys.exit(main())", "run", *args],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            self.lines.extend(iter(stderr.readline, ""))

    def said(self, pattern: str) -> re.Match[str]:
        """The first line that matches, waited for."""
        match = until(lambda: next(filter(None, (re.search(pattern, line) for line in list(self.lines))), None))
        assert match is not None
        return match

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.said(r"^serving (http://\S+)$")[1] + path, timeout=PATIENCE) as answer:
            text: str = answer.read().decode()
            return text

    def metric(self, name: str) -> float:
        match = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics"), re.MULTILINE)
        return float(match[1]) if match else 0.0

    def ended(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stop(self, number: int = signal.SIGINT) -> tuple[int, float]:
        """Its exit code, and how long it took to end."""
        begin = time.monotonic()
        self.process.send_signal(number)
        return self.ended(), time.monotonic() - begin

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.send_signal(signal.SIGCONT)
        self.ended()


Run = Callable[..., Pleg]
T = TypeVar("T")


def until(condition: Callable[[], T]) -> T:
    """The first true value of a condition."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


@pytest.fixture
def run() -> Iterator[Run]:
    runs: list[Pleg] = []

    def start(*args: str, stdout: int | None = None) -> Pleg:
        runs.append(Pleg(*args, stdout=stdout))
        return runs[-1]

    yield start
    for each in runs:
        each.close()


@pytest.fixture
def missing(tmp_path: Path) -> str:
    return f"unix://{tmp_path}/missing.sock"


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[str]:
    """A fake runtime of five pods, by its endpoint. It listens: else the first Status fails, the next is 5 s later."""
    socket_path = tmp_path / "runtime.sock"
    endpoint = f"unix://{socket_path}"
    command = [sys.executable, "-m", "fake_cri", "serve", "--listen", endpoint, "--pods", "5", "--containers", "1"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        until(socket_path.exists)
        yield endpoint
        process.terminate()


def test_a_runtime_that_is_missing_is_logged_and_waited_for_until_ctrl_c(run: Run, missing: str) -> None:
    pleg = run("--runtime-endpoint", missing, "--http", "127.0.0.1:0", "--node-name", "node-7")
    pleg.said(r'^E\d{4} [\d:.]+ +\d+ generic\.go\] "GenericPLEG: Unable to retrieve pods" err="rpc error: code = Unav')
    assert 'kubelet_node_name{node="node-7"} 1' in pleg.get("/metrics")
    (condition,) = json.loads(pleg.get("/node"))["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Ready", "False", "KubeletNotReady")
    assert "pleg has yet to be successful" in condition["message"]
    assert pleg.get("/healthz") == "ok"
    code, took = pleg.stop()
    assert code == 0
    assert took < 2  # well under one on a machine that has nothing else to do
    assert re.search(r"^stopped after [\d.]+m?s; 0 events read$", pleg.lines[-1])


def test_it_ends_by_itself(run: Run, missing: str) -> None:
    pleg = run("--runtime-endpoint", missing, "--http", "off", "--duration", "100ms")
    assert pleg.ended() == 0
    assert not any(line.startswith("serving") for line in pleg.lines)


def test_events_are_saved_and_said_to_be(run: Run, runtime: str, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("of an earlier run\n")
    pleg = run("--runtime-endpoint", runtime, "--http", "127.0.0.1:0", "--events", str(file))
    until(lambda: file.read_text().count("\n") == 10)  # a sandbox and a container in each pod
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert {event["type"] for event in events} == {"ContainerStarted"}
    assert all(list(event) == ["time", "uid", "namespace", "name", "type", "id"] for event in events)
    assert json.loads(pleg.get("/events")) == events
    pods = json.loads(pleg.get("/pods"))["items"]
    assert {pod["metadata"]["uid"] for pod in pods} == {event["uid"] for event in events}
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    assert json.loads(pleg.get("/cache"))["entries"].keys() == {event["uid"] for event in events}
    assert pleg.metric("kubelet_running_pods") == 5
    until(lambda: json.loads(pleg.get("/node"))["conditions"][0]["status"] == "True")
    assert pleg.stop(signal.SIGTERM)[0] == 0
    assert pleg.lines[-1].endswith(f"; 10 events saved to {file}\n")


def test_a_reader_of_events_that_goes_away_is_one_sentence(run: Run, runtime: str) -> None:
    reader, writer = os.pipe()
    pleg = run("--runtime-endpoint", runtime, "--http", "off", "--events", "-", stdout=writer)
    os.close(writer)
    os.close(reader)
    assert pleg.ended() == 1
    assert re.search(
        r"^pleg run: cannot write events to standard output: Broken pipe; 0 of \d+ were saved$", pleg.lines[-1]
    )


def test_a_full_disk_is_one_sentence(run: Run, runtime: str) -> None:
    pleg = run("--runtime-endpoint", runtime, "--http", "off", "--events", "/dev/full")
    assert pleg.ended() == 1
    assert pleg.lines[-1].startswith("pleg run: cannot write events to /dev/full: No space left on device; 0 of ")


def test_a_taken_port_is_one_sentence(run: Run, missing: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        pleg = run("--runtime-endpoint", missing, "--http", f"127.0.0.1:{port}")
        assert pleg.ended() == 1
    (line,) = pleg.lines
    assert line.startswith(f"pleg run: 127.0.0.1:{port} is taken by another program: choose another port with --http")


def test_ctrl_z_closes_the_event_stream_first(run: Run, runtime: str) -> None:
    off = ("--kubelet-healthz", "off")
    pleg = run("--runtime-endpoint", runtime, "--pleg", "hinted", "--http", "127.0.0.1:0", *off)
    connections = "kubelet_evented_pleg_connection_success_count"
    until(lambda: pleg.metric(connections) == 1)
    pleg.process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(pleg.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    pleg.process.send_signal(signal.SIGCONT)
    until(lambda: pleg.metric(connections) == 2)
    # The call ended before the stop; closing it on purpose is no attempt that failed.
    assert pleg.metric('kubelet_runtime_operations_total{operation_type="get_container_events"}') == 1
    assert pleg.metric("kubelet_evented_pleg_connection_error_count") == 0
    assert pleg.stop()[0] == 0


def test_beside_a_kubelet_events_are_refused(run: Run, missing: str) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as kubelet:  # answers 501 to everything
        url = f"http://127.0.0.1:{kubelet.server_port}/healthz"
        answering = threading.Thread(target=kubelet.handle_request)
        answering.start()
        pleg = run("--runtime-endpoint", missing, "--pleg", "evented", "--http", "off", "--kubelet-healthz", url)
        assert pleg.ended() == 1
        answering.join()
        (line,) = pleg.lines
        assert line.startswith(f"pleg run: a kubelet seems to run here ({url} answered ")
        share = run(
            *("--runtime-endpoint", missing, "--pleg", "evented", "--http", "off", "--kubelet-healthz", url),
            *("--share-events", "--duration", "50ms"),
        )
        assert share.ended() == 0
