"""Populations that hurt: dead pods by the thousand, large list entries, a clock that is off."""

from __future__ import annotations

from collections import Counter

import pytest

from cri.clock import SECOND, Clock
from cri.methods import METHODS
from cri.v1 import api_pb2 as pb
from cri.virtual_time import virtual_clock
from fake_cri.journal import Change
from fake_cri.runtime import FakeRuntime
from fake_cri.workload import Workload

from .support import Client, in_virtual_time, profile_named


def populated(*, pods: int = 3, dead: int = 0, entry_bytes: int = 0, profile: str = "containerd-2.4") -> Client:
    runtime = FakeRuntime(profile_named(profile), clock=virtual_clock(), entry_bytes=entry_bytes)
    Workload(runtime, pods=pods, containers=2, dead=dead).populate()
    return Client(runtime)


@in_virtual_time
async def test_dead_pods_beside_the_living() -> None:
    client = populated(pods=3, dead=1000)
    sandboxes = (await client.call("ListPodSandbox")).items
    containers = (await client.call("ListContainers")).containers
    assert Counter(sandbox.state for sandbox in sandboxes) == {pb.SANDBOX_READY: 3, pb.SANDBOX_NOTREADY: 1000}
    assert Counter(container.state for container in containers) == {pb.CONTAINER_RUNNING: 6, pb.CONTAINER_EXITED: 2000}
    status = await client.status(next(c.id for c in containers if c.state == pb.CONTAINER_EXITED))
    assert (status.exit_code, status.reason) == (0, "Completed")


@in_virtual_time
async def test_the_dead_change_nothing_for_the_living() -> None:
    names = [
        {sandbox.name for sandbox in populated(pods=3, dead=dead).runtime.state.sandboxes if sandbox.ready}
        for dead in (0, 50)
    ]
    assert names[0] == names[1]


@pytest.mark.parametrize("profile", ["containerd-2.4", "cri-o"])
@pytest.mark.parametrize("size", [1500, 4096, 20_000])
@in_virtual_time
async def test_entries_of_a_size(profile: str, size: int) -> None:
    client = populated(entry_bytes=size, profile=profile)
    for rpc, count in (("ListPodSandbox", 3), ("ListContainers", 6)):
        answer = await client.runtime.unary(METHODS[rpc], b"")
        parsed = METHODS[rpc].response.FromString(answer)
        (field,) = parsed.DESCRIPTOR.fields
        entries = getattr(parsed, field.name)
        assert len(entries) == count
        assert all(size - 3 <= entry.ByteSize() <= size for entry in entries)
        assert all("fake-cri/padding" in entry.annotations for entry in entries)


@in_virtual_time
async def test_entries_are_never_made_smaller() -> None:
    plain, asked = populated(), populated(entry_bytes=10)
    rpc = METHODS["ListContainers"]
    assert len(await plain.runtime.unary(rpc, b"")) == len(await asked.runtime.unary(rpc, b""))


@in_virtual_time
async def test_a_clock_that_is_off_shows_in_answers_and_not_in_the_truth() -> None:
    journal: list[Change] = []
    clock = virtual_clock()
    runtime = FakeRuntime(
        profile_named("containerd-2.4"), clock=clock, clock_offset=-90 * SECOND, journal=journal.append
    )
    client = Client(runtime)
    status = await client.sandbox_status(await client.run())
    assert status.created_at - clock.now() == -90 * SECOND
    assert [change.time_ns for change in journal] == [clock.now()]
    assert runtime.clock.monotonic() == clock.monotonic()


def test_a_stepped_clock_leaves_the_one_it_came_from() -> None:
    original = Clock(lambda: 5, wall_base=100)
    other = original.shifted(7)
    other.step(-50)
    assert (original.now(), other.now(), other.monotonic()) == (100, 57, 5)
