"""Fixtures: each peer, running, or a skip that says how to get it. With CI=true a missing peer is a failure."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .bench_programs import FakeCri, PlegRun
from .daemons import CONTAINERD_1_6, CONTAINERD_2, Containerd, Version
from .needs import need, need_containerd, need_kubelet
from .processes import Program
from .standalone_kubelet import Kubelet

#: Ends something at the end of the test; a failing test shows the last lines of the program's log.
EndWithTest = Callable[[Program, Callable[[], object]], None]


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
def end_with_test(cleanup: ExitStack, request: pytest.FixtureRequest) -> EndWithTest:
    """For programs that the test starts."""

    def register(program: Program, close: Callable[[], object]) -> None:
        cleanup.callback(close)
        # Before it ends: what it says at its end is seldom why a test failed.
        cleanup.callback(lambda: request.node.add_report_section("teardown", program.name, program.tail))

    return register


@pytest.fixture
def fake_cri(folder: Path, end_with_test: EndWithTest) -> Callable[..., FakeCri]:
    """Starts `fake-cri serve` with the given flags."""
    numbers = itertools.count()

    def serve(*flags: str) -> FakeCri:
        fake = FakeCri(folder / f"fake-{next(numbers)}.sock", *flags)
        end_with_test(fake.program, fake.program.stop)
        return fake

    return serve


@pytest.fixture
def pleg_run(folder: Path, end_with_test: EndWithTest) -> Callable[..., PlegRun]:
    """Starts `pleg run` over an endpoint, with a free port for its HTTP."""
    numbers = itertools.count()

    def run(endpoint: str, *flags: str) -> PlegRun:
        running = PlegRun(folder / f"pleg-{next(numbers)}", endpoint, *flags)
        end_with_test(running.program, running.program.stop)
        return running

    return run


@pytest.fixture
def promtool() -> str:
    """Prometheus' linter."""
    need("promtool", "promtool")
    return "promtool"


@pytest.fixture
def prometheus() -> str:
    """Debian's Prometheus."""
    need("Prometheus", "prometheus", "promtool")
    return "prometheus"


@pytest.fixture
def containerd(folder: Path, end_with_test: EndWithTest) -> Callable[[Version], Containerd]:
    """Starts a containerd of the given version."""

    def run(version: Version) -> Containerd:
        need_containerd(version)
        home = folder / "containerd"
        home.mkdir()
        daemon = Containerd(version, home)
        end_with_test(daemon.program, daemon.close)
        return daemon

    return run


@pytest.fixture
def containerd16(containerd: Callable[[Version], Containerd]) -> Containerd:
    """Debian's containerd 1.6: CRI without an event stream."""
    return containerd(CONTAINERD_1_6)


@pytest.fixture
def containerd2(containerd: Callable[[Version], Containerd]) -> Containerd:
    """containerd 2.4.2: CRI with container events."""
    return containerd(CONTAINERD_2)


@pytest.fixture
def kubelet(folder: Path, end_with_test: EndWithTest) -> Callable[..., Kubelet]:
    """Starts a kubelet 1.37.2 over an endpoint."""
    need_kubelet()

    def run(endpoint: str, *, evented: bool = False) -> Kubelet:
        running = Kubelet(folder / "kubelet", endpoint, evented=evented)
        end_with_test(running.program, running.close)
        return running

    return run
