"""What a test needs of the machine: there, or a skip that says how to get it. With CI=true, a failure."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from .daemons import Version
from .images import BUSYBOX
from .processes import fetch
from .standalone_kubelet import KUBELET


def _missing(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def need(peer: str, *programs: Path | str) -> None:
    """All programs of a peer."""
    if any(shutil.which(program) is None for program in programs):
        _missing(f"{peer} is not installed: run .ci/peers")


def need_root(peer: str) -> None:
    """The rights to start containers."""
    if os.geteuid() != 0:
        _missing(f"{peer} needs root")


def need_containerd(version: Version) -> None:
    """A containerd of this version, and what it needs to run busybox."""
    need_root(version.name)
    need(version.name, *version.programs, "runc", BUSYBOX)


def need_kubelet() -> None:
    """A kubelet, and no other one: they would meet in /var/lib/kubelet/device-plugins, which no flag moves."""
    need_root("kubelet 1.37.2")
    need("kubelet 1.37.2", KUBELET)
    if fetch("http://127.0.0.1:10248/healthz") is not None:
        _missing("a kubelet runs on this machine, and a second one would disturb it")
