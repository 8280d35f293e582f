"""Tests of what pleg knows of a runtime, among them those over real gRPC."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def anyio_backend(grpc_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return grpc_backend
