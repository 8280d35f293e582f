"""Tests of what pleg knows of a runtime, among them those over real gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def anyio_backend(grpc_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return grpc_backend


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cri.sock"
