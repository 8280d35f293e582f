"""Fixtures: each peer, running, or a skip that says how to get it. With CI=true a missing peer is a failure."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .daemons import CONTAINERD_1_6, CONTAINERD_2, Containerd, Version
from .images import BUSYBOX
from .processes import PEERS, SCRIPTS, Program
from .standalone_kubelet import KUBELET, Kubelet

StartProgram = Callable[..., Program]


def _missing(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _need(peer: str, *programs: Path | str) -> None:
    """Skips (in CI: fails) unless all programs of a peer are there."""
    if any(shutil.which(program) is None for program in programs):
        _missing(f"{peer} is not installed: run .ci/peers")


def _need_root(peer: str) -> None:
    if os.geteuid() != 0:
        _missing(f"{peer} needs root")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a Unix socket's may have 107 bytes, and pytest's own folders leave too few of them."""
    with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    """What must be undone, whatever happens: last first, each step though another failed."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start(folder: Path, cleanup: ExitStack, request: pytest.FixtureRequest) -> StartProgram:
    """Starts programs that end with the test; a failing test shows the end of what they said."""
    count = 0

    def start_program(*args: str | Path, log: str | None = None) -> Program:
        nonlocal count
        count += 1
        name = log or f"{Path(args[0]).name}-{count}"
        program = Program(args, folder / f"{name}.log")
        cleanup.callback(program.stop)
        cleanup.callback(lambda: request.node.add_report_section("teardown", name, program.tail))
        return program

    return start_program


@pytest.fixture
def fake_cri(start: StartProgram, folder: Path) -> Callable[..., str]:
    """Starts `fake-cri serve` with the given flags; its endpoint."""
    count = 0

    def serve(*flags: str) -> str:
        nonlocal count
        count += 1
        socket = folder / f"fake-{count}.sock"
        program = start(SCRIPTS / "fake-cri", "serve", "--listen", f"unix://{socket}", *flags)
        program.wait_for(rf"listening on unix://{socket}")
        return f"unix://{socket}"

    return serve


class PlegRun:
    """A running `pleg run`."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.url = program.wait_for(r"http://127\.0\.0\.1:\d+")[0]


@pytest.fixture
def pleg_run(start: StartProgram) -> Callable[..., PlegRun]:
    """Starts `pleg run` over an endpoint, with a free port for its HTTP."""

    def run(endpoint: str, *flags: str) -> PlegRun:
        return PlegRun(start(SCRIPTS / "pleg", "run", "--runtime-endpoint", endpoint, "--http", "127.0.0.1:0", *flags))

    return run


@pytest.fixture
def cri_client() -> Path:
    """The small Go program around the kubelet's CRI client."""
    program = PEERS / "cri-client"
    _need("k8s.io/cri-client", program)
    return program


@pytest.fixture
def promtool() -> str:
    """Prometheus' linter."""
    _need("promtool", "promtool")
    return "promtool"


@pytest.fixture
def prometheus() -> str:
    """Debian's Prometheus."""
    _need("Prometheus", "prometheus", "promtool")
    return "prometheus"


def _containerd(version: Version, folder: Path, cleanup: ExitStack, request: pytest.FixtureRequest) -> Containerd:
    _need_root(version.name)
    _need(version.name, *version.programs, "runc", BUSYBOX)
    home = folder / "containerd"
    home.mkdir()
    daemon = Containerd(version, home)
    cleanup.callback(daemon.close)
    cleanup.callback(lambda: request.node.add_report_section("teardown", version.name, daemon.program.tail))
    return daemon


@pytest.fixture
def containerd16(folder: Path, cleanup: ExitStack, request: pytest.FixtureRequest) -> Containerd:
    """Debian's containerd 1.6: CRI without an event stream."""
    return _containerd(CONTAINERD_1_6, folder, cleanup, request)


@pytest.fixture
def containerd2(folder: Path, cleanup: ExitStack, request: pytest.FixtureRequest) -> Containerd:
    """containerd 2.4.2: CRI with container events."""
    return _containerd(CONTAINERD_2, folder, cleanup, request)


@pytest.fixture
def kubelet(folder: Path, cleanup: ExitStack, request: pytest.FixtureRequest) -> Callable[..., Kubelet]:
    """Starts a kubelet 1.37.2 over an endpoint."""
    _need_root("kubelet 1.37.2")
    _need("kubelet 1.37.2", KUBELET)

    def run(endpoint: str, *, evented: bool = False) -> Kubelet:
        running = Kubelet(folder / "kubelet", endpoint, evented=evented)
        cleanup.callback(running.close)
        cleanup.callback(lambda: request.node.add_report_section("teardown", "kubelet", running.program.tail))
        return running

    return run
