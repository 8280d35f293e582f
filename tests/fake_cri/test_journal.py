"""The journal: one JSON line for each change, at once."""

from __future__ import annotations

import io
import itertools
import json

import pytest

from cri.clock import SECOND, Clock
from cri.v1 import api_pb2 as pb
from fake_cri.journal import Change, JournalFile
from fake_cri.runtime import FakeRuntime

from .support import Client, in_virtual_time, make_client, profile_named

CHANGE = Change(5, "u", "p", "i", "sandbox", None, "SANDBOX_READY")


def test_a_line() -> None:
    line = '{"time_ns":5,"uid":"u","pod":"p","id":"i","kind":"sandbox","old":null,"new":"SANDBOX_READY"}'
    assert CHANGE.json() == line


class Disk(io.StringIO):
    """Full after its first line."""

    def write(self, text: str) -> int:
        if self.getvalue():
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_file_that_cannot_be_written_any_more() -> None:
    calls: list[str] = []
    journal = JournalFile(Disk(), lambda: calls.append("failed"))
    for _ in range(3):
        journal(CHANGE)
    assert (journal.lines, calls) == (1, ["failed"])
    assert journal.error is not None


@in_virtual_time
async def test_a_life_in_the_journal() -> None:
    file = io.StringIO()
    client = make_client(journal=JournalFile(file, lambda: None))
    sandbox = await client.run("web")
    container = await client.start(sandbox)
    await client.call("RemovePodSandbox", pod_sandbox_id=sandbox)
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [(line["id"], line["kind"], line["old"], line["new"]) for line in lines] == [
        (sandbox, "sandbox", None, "SANDBOX_READY"),
        (container, "container", None, "CONTAINER_CREATED"),
        (container, "container", "CONTAINER_CREATED", "CONTAINER_RUNNING"),
        (container, "container", "CONTAINER_RUNNING", "CONTAINER_EXITED"),
        (sandbox, "sandbox", "SANDBOX_READY", "SANDBOX_NOTREADY"),
        (container, "container", "CONTAINER_EXITED", None),
        (sandbox, "sandbox", "SANDBOX_NOTREADY", None),
    ]
    assert {(line["uid"], line["pod"]) for line in lines} == {("uid-of-web", "web")}
    assert all(line["time_ns"] == client.runtime.clock.now() for line in lines)


@pytest.mark.parametrize("offset", [0, 5 * SECOND])
@pytest.mark.anyio
async def test_journal_statuses_and_events_show_one_time(offset: int) -> None:
    """On a clock that is never at one moment twice, as the machine's: the runtime reads it once for each change.

    Where that clock is off, the journal's time is true all the same.
    """
    ticks = itertools.count(1000, 7)
    journal: list[Change] = []
    clock = Clock(lambda: next(ticks), wall_base=0)
    profile = profile_named("containerd-2.4")
    client = Client(FakeRuntime(profile, clock=clock, journal=journal.append, clock_offset=offset))
    async with client.events() as events:
        sandbox = await client.run()
        container = await client.start(sandbox)
        await client.call("StopContainer", container_id=container, timeout=0)
        shown = await client.status(container)
        created = (await client.sandbox_status(sandbox)).created_at
        await client.call("RemovePodSandbox", pod_sandbox_id=sandbox)
    assert journal[-1].time_ns < 1_000_000
    times = [change.time_ns + offset for change in journal]
    assert times[:4] == [created, shown.created_at, shown.started_at, shown.finished_at]
    assert times == sorted(set(times))
    stamps = [event.created_at for event in events]
    assert stamps == sorted(set(stamps))
    firsts = {(event.container_id, event.container_event_type): event.created_at for event in reversed(events)}
    assert [
        firsts[sandbox, pb.CONTAINER_CREATED_EVENT],
        firsts[container, pb.CONTAINER_CREATED_EVENT],
        firsts[container, pb.CONTAINER_STARTED_EVENT],
        firsts[container, pb.CONTAINER_STOPPED_EVENT],
    ] == times[:4]
