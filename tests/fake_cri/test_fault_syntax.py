"""The one-line syntax of faults: what it means, and what it says to mistakes."""

from __future__ import annotations

import pytest

from cri.clock import MILLISECOND, SECOND
from cri.methods import METHODS
from cri.transport import Code
from fake_cri.faults import FAULTS, parse_fault
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
    assert list(FAULTS) == ["off", "error", "hang", "latency", "garbage", "oversized"]
    assert all(kind.usage.startswith(name) for name, kind in FAULTS.items())


def test_durations_are_gos() -> None:
    (term,) = parse_fault("Version: hang(1m2.5s)").terms
    assert term.fault.window == 62_500 * MILLISECOND
