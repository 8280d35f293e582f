"""What keeps a node from working: the errors about its runtime, their order and their text (section 5.4)."""

from __future__ import annotations

from functools import partial

import pytest

from cri.clock import MINUTE, SECOND
from cri.transport import Code
from cri.v1 import api_pb2 as cri
from pleg.node.runtime_state import RuntimeState, aggregate
from tests.pleg.support import Bench, running, virtual

UNCHECKED = "container runtime status check may not have completed yet"
DOWN = "container runtime is down"


class State(Bench):
    def __init__(self, **problems: str | None) -> None:
        super().__init__()
        self.problems = problems
        checks = [(name, partial(problems.get, name)) for name in problems]
        self.state = RuntimeState(self.client, self.clock, self.hooks, checks)

    def condition(self, type_: str, status: bool, reason: str = "", message: str = "") -> None:
        for condition in self.runtime.status.status.conditions:
            if condition.type == type_:
                condition.CopyFrom(cri.RuntimeCondition(type=type_, status=status, reason=reason, message=message))


@virtual
async def test_before_the_first_status_it_may_not_have_completed_yet() -> None:
    bench = State()
    assert bench.state.runtime_errors() == [UNCHECKED]
    assert bench.state.network_errors() == ["network state unknown"]
    async with running(bench.state.run):
        await bench.until(SECOND)
        assert bench.state.runtime_errors() == bench.state.network_errors() == []


@virtual
async def test_status_is_asked_for_five_seconds_after_the_last_answer() -> None:
    bench = State()
    bench.runtime.delays["Status"] = SECOND
    async with running(bench.state.run):
        await bench.until(20 * SECOND)
    assert [call.at // SECOND for call in bench.runtime.calls if call.rpc == "Status"] == [0, 6, 12, 18]


@virtual
async def test_the_runtimes_name_is_asked_for_until_it_is_known() -> None:
    bench = State()
    bench.runtime.fail("Version", Code.UNAVAILABLE, "gone")
    async with running(bench.state.run):
        await bench.until(SECOND)
        assert bench.state.runtime_name == ""
        bench.runtime.answer("Version", cri.VersionResponse(runtime_name="containerd"))
        await bench.until(20 * SECOND)
    assert bench.state.runtime_name == "containerd"
    assert [call.rpc for call in bench.runtime.calls].count("Version") == 2


@virtual
async def test_a_version_that_hangs_holds_nothing_up() -> None:
    """A kubelet asks for it now and then; what it waits for there is not its poll of Status."""
    bench = State()
    bench.runtime.hang("Version")
    async with running(bench.state.run):
        await bench.until(SECOND)
        for second in range(1, 200):
            await bench.until(second * SECOND)
            assert bench.state.runtime_errors() == []
        bench.runtime.heal()
        await bench.until(250 * SECOND)
    assert bench.state.runtime_name == "scripted"


@pytest.mark.parametrize("how", ["error", "hang", "malformed"])
@virtual
async def test_thirty_seconds_after_the_last_good_status_the_runtime_is_down(how: str) -> None:
    bench = State()
    async with running(bench.state.run):
        await bench.until(SECOND)  # the last good Status was answered at 1 ms
        if how == "error":
            bench.runtime.fail("Status", Code.UNAVAILABLE, "gone")
        elif how == "hang":
            bench.runtime.hang("Status")
        else:
            bench.runtime.answer("Status", b"")
        good = SECOND // 1000
        await bench.until(good + 30 * SECOND - 1)
        seen = [bench.state.runtime_errors()]
        await bench.until(good + 30 * SECOND)  # exactly the threshold is down already
        seen.append(bench.state.runtime_errors())
        await bench.until(60 * SECOND)
        bench.runtime.heal()
        await bench.until(66 * SECOND)
        seen.append(bench.state.runtime_errors())
    assert seen == [[], [DOWN], []]
    failed = bench.hooks.logged("Container runtime sanity check failed")
    assert len(failed) == (0 if how == "hang" else 11)


@virtual
async def test_a_hung_status_fails_only_after_its_deadline() -> None:
    bench = State()
    bench.runtime.hang("Status")
    async with running(bench.state.run):
        await bench.until(2 * MINUTE - SECOND)
        assert bench.hooks.logged("Container runtime sanity check failed") == []
        await bench.until(6 * MINUTE)
    assert [at // SECOND for at, _ in bench.hooks.logged("Container runtime sanity check failed")] == [120, 245]
    assert [call.at // SECOND for call in bench.runtime.calls if call.rpc == "Status"] == [0, 125, 250]


@virtual
async def test_runtime_ready_false_is_an_error_of_its_own_and_does_not_count_as_a_good_status() -> None:
    bench = State()
    async with running(bench.state.run):
        await bench.until(SECOND)
        bench.condition("RuntimeReady", False, "Broken", "shim missing")
        text = "container runtime not ready: RuntimeReady=false reason:Broken message:shim missing"
        await bench.until(10 * SECOND)
        seen = [bench.state.runtime_errors()]
        await bench.until(40 * SECOND)
        seen.append(bench.state.runtime_errors())
        bench.condition("RuntimeReady", True)
        await bench.until(50 * SECOND)
        seen.append(bench.state.runtime_errors())
    assert seen == [[text], [DOWN, text], []]


@virtual
async def test_a_failed_status_keeps_the_last_runtime_condition() -> None:
    bench = State()
    bench.condition("RuntimeReady", False, "Broken", "x")
    async with running(bench.state.run):
        await bench.until(SECOND)
        bench.runtime.fail("Status")
        await bench.until(40 * SECOND)
        assert bench.state.runtime_errors() == [
            UNCHECKED,
            "container runtime not ready: RuntimeReady=false reason:Broken message:x",
        ], "no Status was ever good"


@virtual
async def test_the_network_is_apart_and_does_not_stop_the_loop() -> None:
    bench = State()
    bench.condition("NetworkReady", False, "NetworkPluginNotReady", "cni plugin not initialized")
    async with running(bench.state.run):
        await bench.until(SECOND)
        assert bench.state.runtime_errors() == []
        assert bench.state.network_errors() == [
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
            "message:cni plugin not initialized"
        ]
        bench.condition("NetworkReady", True)
        await bench.until(6 * SECOND)
        assert bench.state.network_errors() == []


@pytest.mark.parametrize("missing", ["RuntimeReady", "NetworkReady"])
@virtual
async def test_a_condition_that_is_missing_reads_as_nil(missing: str) -> None:
    bench = State()
    for condition in bench.runtime.status.status.conditions:
        if condition.type == missing:
            condition.type = "SomethingElse"
    async with running(bench.state.run):
        await bench.until(SECOND)
        runtime, network = bench.state.runtime_errors(), bench.state.network_errors()
    if missing == "RuntimeReady":
        assert (runtime, network) == ([UNCHECKED, "container runtime not ready: <nil>"], [])
    else:
        assert (runtime, network) == ([], ["container runtime network not ready: <nil>"])


@virtual
async def test_errors_come_in_the_kubelets_order() -> None:
    bench = State(PLEG="pleg was last seen active 3m1s ago; threshold is 3m0s", EventedPLEG="EventedPLEG: full")
    async with running(bench.state.run):
        await bench.until(SECOND)
        bench.condition("RuntimeReady", False, "R", "m")
        await bench.until(60 * SECOND)
        assert bench.state.runtime_errors() == [
            DOWN,
            "PLEG is not healthy: pleg was last seen active 3m1s ago; threshold is 3m0s",
            "EventedPLEG is not healthy: EventedPLEG: full",
            "container runtime not ready: RuntimeReady=false reason:R message:m",
        ]
        bench.problems["PLEG"] = None
        assert len(bench.state.runtime_errors()) == 3


@pytest.mark.parametrize(
    ("errors", "text"),
    [
        (["a"], "a"),
        (["a", "b"], "[a, b]"),
        (["b", "a", "b"], "[b, a]"),
        (["a", "a"], "a"),
        (["[a, b]", "c"], "[[a, b], c]"),
    ],
)
def test_an_aggregate_prints_as_apimachinerys(errors: list[str], text: str) -> None:
    assert aggregate(errors) == text
