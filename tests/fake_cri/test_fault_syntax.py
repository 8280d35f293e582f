"""The one-line syntax of faults: what it means, and what it says to mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

import fake_cri.faults
from cri.clock import MILLISECOND, SECOND
from cri.methods import METHODS
from cri.transport import Code
from fake_cri.faults import FAULTS, Schedule, Selector, Term, parse_fault
from fake_cri.faults.error import Error


def test_terms_and_counts() -> None:
    plan = parse_fault("ListContainers: 20*off->hang(30s)->off")
    assert plan.rpc == "ListContainers"
    assert [(term.fault.name, term.count, term.fault.window) for term in plan.terms] == [
        ("off", 20, None),
        ("hang", None, 30 * SECOND),
        ("off", None, None),
    ]


def test_white_space_and_case_are_free() -> None:
    plan = parse_fault("  Status :2 * OFF -> 1*Error( Unavailable )->latency( 5ms )")
    off, error, latency = (term.fault for term in plan.terms)
    assert (off.name, latency.name) == ("off", "latency")
    assert isinstance(error, Error)
    assert error.code is Code.UNAVAILABLE


@pytest.mark.parametrize("code", [code for code in Code if code])
def test_every_code_by_name_in_any_case(code: Code) -> None:
    for name in (code.name, code.name.lower(), code.name.title()):
        (term,) = parse_fault(f"Version: error({name})").terms
        assert isinstance(term.fault, Error)
        assert term.fault.code is code


def test_every_rpc_can_be_named() -> None:
    for rpc in METHODS:
        assert parse_fault(f"{rpc}: off").rpc == rpc


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must read RPC: ACTIONS"),
        ("ListContainers", "must read RPC: ACTIONS"),
        ("ListContainers:", "must read RPC: ACTIONS"),
        ("ListPods: off", "names no rpc of CRI v1: choose one of Attach, "),
        ("Version: boom", "unknown action 'boom': choose one of off, error(CODE), hang(DURATION)"),
        ("Version: error", "error needs a gRPC code: choose one of cancelled, unknown, "),
        ("Version: error(ok)", "error(ok) needs a gRPC code"),
        ("Version: error(teapot)", "error(teapot) needs a gRPC code"),
        ("Version: hang(soon)", "'soon' is no duration"),
        ("Version: hang(0s)", "needs a duration above 0"),
        ("Version: hang()", "is no duration"),
        ("Version: latency", "latency needs a duration"),
        ("Version: latency(-1s)", "latency needs a duration"),
        ("Version: off(1)", "off takes nothing in brackets"),
        ("Version: garbage(1)", "garbage takes nothing in brackets"),
        ("Version: oversized(1)", "oversized takes nothing in brackets"),
        ("Version: unset", "unset has no meaning for Version"),
        ("GetContainerEvents: unset", "unset has no meaning for GetContainerEvents"),
        ("ListContainers: not_found", "not_found has no meaning for ListContainers"),
        ("ContainerStatus: cut(1)", "cut has no meaning for ContainerStatus"),
        ("ListContainers: cut", "cut needs a number of entries"),
        ("ListContainers: cut(-1)", "cut needs a number of entries"),
        ("ListContainers: lock", "lock needs a lock's name"),
        ("ListContainers: lock(a b)", "lock needs a lock's name"),
        ("ListContainers: lock(a, 1s)", "lock takes a lock's name alone"),
        ("ListContainers: hold(a, 0s)", "hold takes a lock's name and a duration"),
        ("ListContainers: hold(a)->off", "never leaves its term 'hold(a)'"),
        ("Version: hang(1s, 2s)", "hang(1s, 2s) needs a duration"),
        ("Version: latency(uniform(2s,1s))", "the shorter duration first"),
        ("Version: latency(uniform(1s))", "latency needs a duration"),
        ("Version: latency(exponential(0s))", "latency needs a duration"),
        ("Version: latency(poisson(1s))", "latency(poisson(...)) is unknown"),
        ("Version: error(unknown,a,b)", "error takes a code and a text"),
        ('Version: error(unknown,"a)', "without its other half"),
        ('Version: error(unknown,"\\x")', "no quoted text"),
        ("Version: error(unknown))", "without its other half"),
        ("Version: error(unknown) p=0", "a probability is above 0 and at most 1"),
        ("Version: error(unknown) p=1.01", "a probability is above 0 and at most 1"),
        ("Version: error(unknown) p=.", "cannot be read"),
        ("Version[name=x]: off", "write one of pod=..., container=..., uid=..., id=..."),
        ("Version[pod=]: off", "write one of pod="),
        ("Version[pod=a,pod=b]: off", "selects by pod twice"),
        ("Version: crash", "crash happens to the runtime, not to Version: write it for Runtime"),
        ("Runtime: hang", "hang does not happen to Runtime"),
        ("Runtime: 2*crash", "Runtime takes one action and a span of time"),
        ("Runtime: restart(1s)->crash", "never leaves its term"),
        ("Runtime[pod=a]: crash", "Runtime takes one action and a span of time"),
        ("Runtime after 2 calls: crash", "Runtime takes one action and a span of time"),
        ("Runtime: crash p=0.5", "Runtime takes one action and a span of time"),
        ("Runtime: restart", "restart takes how long it is down"),
        ("Runtime: restart(5s,found)", "restart takes how long it is down"),
        ("Runtime: clock_step(0s)", "clock_step needs a duration other than 0"),
        ("Event: hang", "hang happens to no event"),
        ("Event: crash", "crash happens to no event"),
        ("Version: drop", "drop happens to single events, not to Version: write it for Event"),
        ("Version: end", "end has no meaning for Version: it is no stream"),
        ("GetContainerEvents: reset(-1s)", "reset takes a duration"),
        ("Event: delay", "delay needs a duration above 0"),
        ("Event: duplicate(1)", "duplicate takes a number from 2 to 1000"),
        ("Event: created_at(hours)", "is no duration"),
        ("Event: created_at", "created_at needs seconds, milliseconds or a duration"),
        ("Status: not_ready", "not_ready needs a condition"),
        ("Version: not_ready(network)", "only Status has conditions"),
        ("Version @: off", "after the @ stands a time"),
        ("Version @..: off", "after the @ stands a time"),
        ("Version @soon: off", "'soon' is no duration"),
        ("Version @40s..10s: off", "must begin before it ends"),
        ("Version after calls: off", "must read RPC: ACTIONS"),
        ("Version: 0*error(unknown)->off", "covers no call"),
        ("Version: off->error(unknown)", "never leaves its term 'off': give it a count, as in 3*off"),
        ("Version: error(unknown)->off", "never leaves its term"),
        ("Version: hang->off", "never leaves its term 'hang'"),
        ("Version: latency(1s)->off", "never leaves its term"),
        ("Version: 1*off->", "cannot be read"),
        ("Version: ->off", "cannot be read"),
        ("Version: 1.5*off", "cannot be read"),
        ("Version: -1*off", "cannot be read"),
    ],
)
def test_mistakes_get_one_sentence(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        parse_fault(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_registry_names_each_kind_once() -> None:
    assert set(FAULTS) == {
        *("off", "error", "hang", "latency", "garbage", "oversized", "not_found"),
        *("unset", "truncated", "cut", "hold", "lock", "not_ready"),
        *("end", "reset", "drop", "duplicate", "delay", "reorder", "burst", "no_sandbox", "no_statuses", "created_at"),
        *("restart", "crash", "socket_gone", "clock_step"),
    }
    assert all(kind.usage.startswith(name) for name, kind in FAULTS.items())


def test_durations_are_gos() -> None:
    (term,) = parse_fault("Version: hang(1m2.5s)").terms
    assert term.fault.window == 62_500 * MILLISECOND


def test_a_head_says_whom_when_and_after_what() -> None:
    plan = parse_fault("ContainerStatus [pod=default/web-0, container=app] @10s..1m after 20 calls: hang")
    assert plan.selector == Selector(pod="default/web-0", container="app")
    assert plan.schedule == Schedule(10 * SECOND, 60 * SECOND, 20)
    assert parse_fault("Version @10s: off").schedule == Schedule(10 * SECOND)
    assert parse_fault("Version @..1.5s: off").schedule == Schedule(0, 1500 * MILLISECOND)
    assert parse_fault('ContainerStatus[id="]:->"]: off').selector == Selector(id="]:->")


def test_texts_in_quotes_may_hold_anything() -> None:
    (term,) = parse_fault(r'Version: 2*error(unavailable, "a->b), \"c\" p=2") p=0.5').terms
    assert term == Term(Error(Code.UNAVAILABLE, 'a->b), "c" p=2'), 2, 0.5)


def test_every_fault_that_can_be_put_before_an_rpc_is_explained() -> None:
    guide = (Path(fake_cri.faults.__file__).parent / "README.md").read_text(encoding="utf-8")
    for name, kind in FAULTS.items():
        assert f"`{name}" in guide
        assert kind.summary
