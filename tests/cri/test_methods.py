"""The rpcs by name."""

from __future__ import annotations

import dataclasses

import pytest

from cri.methods import METHODS
from cri.v1 import api_pb2


def test_both_services_have_all_their_rpcs() -> None:
    by_service: dict[str, int] = {}
    for method in METHODS.values():
        by_service[method.service] = by_service.get(method.service, 0) + 1
    assert by_service == {"runtime.v1.RuntimeService": 37, "runtime.v1.ImageService": 6}


def test_names_paths_and_messages_belong_together() -> None:
    for name, method in METHODS.items():
        assert str(method) == method.name == name
        assert method.path == f"/{method.service}/{name}"
    version = METHODS["Version"]
    assert version.path == "/runtime.v1.RuntimeService/Version"
    assert version.request is api_pb2.VersionRequest
    assert version.response is api_pb2.VersionResponse
    assert METHODS["PullImage"].path == "/runtime.v1.ImageService/PullImage"


def test_which_answers_are_streams() -> None:
    streams = {name for name, method in METHODS.items() if method.streams}
    assert "GetContainerEvents" in streams
    assert all(name.startswith("Stream") for name in streams - {"GetContainerEvents"})
    assert not METHODS["ListContainers"].streams


def test_a_method_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        METHODS["Version"].path = "/elsewhere"  # type: ignore[misc]
