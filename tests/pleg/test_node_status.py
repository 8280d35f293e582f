"""The node's Ready condition: reason, message, when it is computed and when it flips (section 5.5)."""

from __future__ import annotations

import random
from itertools import pairwise

import anyio
import pytest

from cri.clock import MILLISECOND, MINUTE, SECOND, VIRTUAL_EPOCH, seconds
from pleg.node.node_status import NodeStatus
from tests.pleg.support import Recording, current_clock, running, virtual


class Status:
    def __init__(self, seed: int = 1) -> None:
        self.clock = current_clock()
        self.hooks = Recording(self.clock)
        self.errors: list[str] = []
        self.status = NodeStatus(lambda: self.errors, self.clock, self.hooks, random.Random(seed), node_name="node-1")

    def computed(self) -> list[int]:
        return self.hooks.times("node_condition")

    async def until(self, monotonic: int) -> None:
        await anyio.sleep(seconds(monotonic - self.clock.monotonic()))


@virtual
async def test_ready() -> None:
    bench = Status()
    assert bench.status.conditions == []
    async with running(bench.status.run):
        await bench.until(SECOND)
    [ready] = bench.status.conditions
    assert (ready.type, ready.status, ready.reason) == ("Ready", "True", "KubeletReady")
    assert ready.message == "kubelet is posting ready status"


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (
            ["PLEG is not healthy: pleg was last seen active 3m7.6s ago; threshold is 3m0s"],
            "PLEG is not healthy: pleg was last seen active 3m7.6s ago; threshold is 3m0s",
        ),
        (["runtime", "network"], "[runtime, network]"),
        (["runtime", "network", "runtime"], "[runtime, network]"),
    ],
)
@virtual
async def test_not_ready(errors: list[str], message: str) -> None:
    bench = Status()
    bench.errors = errors
    async with running(bench.status.run):
        await bench.until(SECOND)
    [ready] = bench.status.conditions
    assert (ready.status, ready.reason, ready.message) == ("False", "KubeletNotReady", message)


@virtual
async def test_it_is_computed_every_ten_seconds_and_up_to_four_per_cent_more() -> None:
    bench = Status()
    async with running(bench.status.run):
        await bench.until(20 * MINUTE)
    gaps = {later - earlier for earlier, later in pairwise(bench.computed())}
    assert all(10 * SECOND <= gap <= 10_400 * MILLISECOND for gap in gaps)
    assert len(gaps) > 50, "another pause each time"


@virtual
async def test_the_seed_decides_the_pauses() -> None:
    found = []
    for seed in (1, 1, 2):
        bench = Status(seed)
        begin = bench.clock.monotonic()
        async with running(bench.status.run):
            await bench.until(begin + MINUTE)
        found.append([round((at - begin) / MILLISECOND) for at in bench.computed()])
    assert found[0] == found[1] != found[2]


@virtual
async def test_the_transition_time_changes_only_when_the_status_flips() -> None:
    bench = Status()
    async with running(bench.status.run):
        await bench.until(30 * SECOND)
        bench.errors = ["a"]
        await bench.until(60 * SECOND)
        [first] = bench.status.conditions
        bench.errors = ["b"]
        await bench.until(90 * SECOND)
        [second] = bench.status.conditions
        bench.errors = []
        await bench.until(120 * SECOND)
        [third] = bench.status.conditions
    assert (first.message, second.message) == ("a", "b")
    assert first.last_transition == second.last_transition
    assert VIRTUAL_EPOCH + 30 * SECOND < first.last_transition <= VIRTUAL_EPOCH + 41 * SECOND
    assert second.last_heartbeat > first.last_heartbeat
    assert third.last_transition == third.last_heartbeat or third.last_transition > second.last_heartbeat
    flips = [(at, args[1]) for at, hook, args, _ in bench.hooks.seen if hook == "node_condition" and args[4]]
    assert [status for _, status in flips] == ["True", "False", "True"]


@virtual
async def test_only_a_node_that_was_ready_is_logged_as_no_longer_so_and_once() -> None:
    bench = Status()
    bench.errors = ["starting"]
    async with running(bench.status.run):
        await bench.until(25 * SECOND)
        assert bench.hooks.logged("Node became not ready") == []
        bench.errors = []
        await bench.until(40 * SECOND)
        bench.errors = ["PLEG is not healthy: x"]
        await bench.until(120 * SECOND)
    [(_, values)] = bench.hooks.logged("Node became not ready")
    assert values["severity"] == "I"
    condition = values["condition"]
    assert {condition[key] for key in ("type", "status", "reason", "message")} == {
        "Ready",
        "False",
        "KubeletNotReady",
        "PLEG is not healthy: x",
    }


@virtual
async def test_a_node_that_starts_not_ready_is_posted_as_soon_as_it_is() -> None:
    """fastStatusUpdateOnce: looked at every 100 ms until it was ready once."""
    bench = Status()
    bench.errors = ["starting"]
    async with running(bench.status.run):
        await bench.until(3050 * MILLISECOND)
        bench.errors = []
        await bench.until(9 * SECOND)
        assert [round(at / MILLISECOND) for at in bench.computed()] == [0, 3100]
        bench.errors = ["again"]
        await bench.until(12 * SECOND)
        assert [status.status for status in bench.status.conditions] == ["True"], "only once"


@virtual
async def test_after_two_minutes_of_starting_nobody_hurries_any_more() -> None:
    """nodeReadyGracePeriod: from then the node becomes ready with the next computation of every 10 s."""
    bench = Status()
    bench.errors = ["starting"]
    async with running(bench.status.run):
        await bench.until(135 * SECOND)
        bench.errors = []
        await bench.until(170 * SECOND)
    gaps = [later - earlier for earlier, later in pairwise(bench.computed())]
    assert all(10 * SECOND <= gap <= 10_400 * MILLISECOND for gap in gaps), "nothing in between"
