"""Container logs: empty files where clients look for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cri.virtual_time import virtual_clock
from fake_cri.logs import LogFiles
from fake_cri.runtime import FakeRuntime

from .support import Client, in_virtual_time, make_client, profile_named, sandbox_config


def logging_client() -> Client:
    return Client(FakeRuntime(profile_named("containerd-2.4"), clock=virtual_clock(), logs=LogFiles()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pod's log folder, with that of one container, which the client makes."""
    (tmp_path / "main").mkdir()
    return tmp_path


def there(path: str) -> bool:
    return os.path.exists(path)


async def created_in(client: Client, folder: Path) -> str:
    config = sandbox_config()
    config.log_directory = f"{folder}/"
    sandbox = (await client.call("RunPodSandbox", config=config)).pod_sandbox_id
    return await client.create(sandbox)


@in_virtual_time
async def test_a_log_exists_once_the_container_is_started(folder: Path) -> None:
    client = logging_client()
    container = await created_in(client, folder)
    log = f"{folder}/main/0.log"
    assert not there(log)
    await client.call("StartContainer", container_id=container)
    assert (await client.status(container)).log_path == log
    assert there(log)


@in_virtual_time
async def test_a_log_that_was_moved_away_is_opened_anew(folder: Path) -> None:
    client = logging_client()
    container = await created_in(client, folder)
    await client.call("StartContainer", container_id=container)
    log = f"{folder}/main/0.log"
    os.rename(log, f"{log}.1")
    await client.call("ReopenContainerLog", container_id=container)
    assert there(log)


@in_virtual_time
async def test_no_container_depends_on_its_log(tmp_path: Path) -> None:
    client = logging_client()
    container = await created_in(client, tmp_path / "none")
    await client.call("StartContainer", container_id=container)


@in_virtual_time
async def test_without_a_log_folder_there_is_no_log_path() -> None:
    client = make_client()
    config = sandbox_config()
    config.log_directory = ""
    sandbox = (await client.call("RunPodSandbox", config=config)).pod_sandbox_id
    assert (await client.status(await client.start(sandbox))).log_path == ""
