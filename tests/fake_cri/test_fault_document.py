"""Faults as YAML say exactly what the one-line syntax says; mistakes are told with file, line and key."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cri.methods import METHODS
from fake_cri.faults import (
    FAULTS,
    DocumentError,
    Fault,
    FaultPlan,
    Schedule,
    Selector,
    Term,
    dump_faults,
    format_fault,
    load_faults,
    parse_fault,
    read_faults,
)
from fake_cri.faults.events import EventFault
from fake_cri.faults.incident import Incident

DURATIONS = st.integers(1, 10**15)
TEXTS = st.text(max_size=12)
NAMES = st.text(min_size=1, max_size=12)
LOCKS = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,8}", fullmatch=True)


def spelled(shape: str) -> st.SearchStrategy[tuple[str, ...]]:
    pairs = st.tuples(DURATIONS, DURATIONS).map(sorted)
    return pairs.map(lambda pair: (f"{shape}({pair[0]}ns,{pair[1]}ns)",))


ARGUMENTS: dict[str, st.SearchStrategy[tuple[str, ...]]] = {
    "error": st.tuples(st.sampled_from(["unavailable", "not_found", "Internal"]))
    | st.tuples(st.just("aborted"), TEXTS),
    "hang": st.just(()) | DURATIONS.map(lambda ns: (f"{ns}ns",)),
    "latency": DURATIONS.map(lambda ns: (f"{ns}ns",))
    | DURATIONS.map(lambda ns: (f"exponential({ns}ns)",))
    | st.sampled_from(["uniform", "normal", "growing"]).flatmap(spelled),
    "cut": st.integers(0, 1000).map(lambda count: (str(count),)),
    "hold": st.tuples(LOCKS) | st.tuples(LOCKS, DURATIONS.map(lambda ns: f"{ns}ns")),
    "lock": st.tuples(LOCKS),
    "not_ready": st.sampled_from([("runtime",), ("network",)]),
    "end": st.just(()) | DURATIONS.map(lambda ns: (f"{ns}ns",)),
    "reset": st.just(()) | DURATIONS.map(lambda ns: (f"{ns}ns",)),
    "duplicate": st.just(()) | st.integers(2, 1000).map(lambda times: (str(times),)),
    **{name: DURATIONS.map(lambda ns: (f"{ns}ns",)) for name in ("delay", "reorder", "burst")},
    "created_at": st.sampled_from([("seconds",), ("milliseconds",), ("-1h",), ("5s",)]),
    "restart": DURATIONS.map(lambda ns: (f"{ns}ns",)) | DURATIONS.map(lambda ns: (f"{ns}ns", "lost")),
    "clock_step": (DURATIONS | DURATIONS.map(lambda ns: -ns)).map(lambda ns: (f"{ns}ns",)),
}
INCIDENTS = [name for name, kind in FAULTS.items() if issubclass(kind, Incident)]
EVENT_FAULTS = [name for name, kind in FAULTS.items() if issubclass(kind, EventFault)] + ["off"]
CALL_FAULTS = [name for name in FAULTS if name not in (*INCIDENTS, *EVENT_FAULTS)] + ["off"]
RPCS = {"not_ready": "Status", "unset": "ContainerStatus", "not_found": "ContainerStatus", "cut": "ListContainers"}


@st.composite
def incidents(draw: st.DrawFn) -> FaultPlan:
    word = draw(st.sampled_from(INCIDENTS))
    fault = FAULTS[word].parse(draw(ARGUMENTS.get(word, st.just(()))))
    begin = draw(st.just(0) | DURATIONS)
    end = draw(st.none() | DURATIONS.map(lambda span: begin + span))
    return FaultPlan("Runtime", (Term(fault, None),), "", Selector(), Schedule(begin, end))


@st.composite
def faults_of_calls(draw: st.DrawFn) -> FaultPlan:
    happening = draw(st.sampled_from([EVENT_FAULTS, CALL_FAULTS]))
    words = draw(st.lists(st.sampled_from(happening), min_size=1, max_size=4))
    rpc = next((RPCS[word] for word in words if word in RPCS), "StreamContainers")
    rpc = "Event" if happening is EVENT_FAULTS else rpc
    faults: list[Fault] = []
    for word in words:
        fault = FAULTS[word].parse(draw(ARGUMENTS.get(word, st.just(()))))
        try:
            if rpc in METHODS:
                fault.check(METHODS[rpc])
        except ValueError:
            continue
        faults.append(fault)
    if not faults:
        faults.append(FAULTS["off"].parse(()))
    terms = []
    for number, fault in enumerate(faults, start=1):
        may_be_uncounted = number == len(faults) or fault.window is not None
        count = draw(st.integers(1, 99) | st.none()) if may_be_uncounted else draw(st.integers(1, 99))
        terms.append(Term(fault, count, draw(st.just(1.0) | st.floats(1e-4, 1))))
    selector = Selector(*(draw(st.none() | NAMES) for _ in range(4)))
    begin = draw(st.just(0) | DURATIONS)
    end = draw(st.none() | DURATIONS.map(lambda span: begin + span))
    return FaultPlan(rpc, tuple(terms), "", selector, Schedule(begin, end, draw(st.integers(0, 50))))


def plans() -> st.SearchStrategy[FaultPlan]:
    return faults_of_calls() | incidents()


@settings(deadline=None)
@given(plans())
def test_a_line_says_all_that_a_plan_is(plan: FaultPlan) -> None:
    line = format_fault(plan)
    assert parse_fault(line) == plan
    assert format_fault(parse_fault(line)) == line


@settings(deadline=None)
@example([parse_fault('Event[id="\u0085"]: drop')])
@given(st.lists(plans(), max_size=3))
def test_yaml_says_what_the_line_says(given_plans: list[FaultPlan]) -> None:
    document = dump_faults(given_plans)
    read = load_faults(document, "f.yaml")
    assert read == given_plans
    assert [plan.text for plan in read] == [format_fault(plan) for plan in given_plans]
    assert dump_faults(parse_fault(plan.text) for plan in read) == document


def test_the_keys() -> None:
    (plan,) = load_faults(
        """
faults:
  - rpc: ContainerStatus
    select: {pod: default/web-0, container: app}
    from: 10s
    until: 40s
    after: 20
    terms:
      - {times: 20, do: off}
      - {do: error, with: [unavailable, shim is gone], p: 0.1}
""",
        "f.yaml",
    )
    line = "ContainerStatus[pod=default/web-0,container=app] @10s..40s after 20 calls: "
    assert plan.text == line + '20*off->error(unavailable, "shim is gone") p=0.1'


FIRST = "faults:\n  - rpc: ListContainers\n    terms:\n      - do: "


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "f.yaml, line 1, the document: "),
        ("[]", "f.yaml, line 1, the document: "),
        ("faults:\n  - {", "f.yaml, line 2: no YAML: "),
        ("fault: []", "f.yaml, line 1, faults: Field required"),
        ("faults: []\nmore: 1", "f.yaml, line 2, more: Extra inputs are not permitted"),
        ("faults:\n  - rpc: Version\n    until: 1s", "f.yaml, line 2, faults[0].terms: Field required"),
        ("faults:\n  - rpc: Version\n    terms: []", "f.yaml, line 3, faults[0].terms: "),
        ("faults:\n  - rpc: Nothing\n    terms: [{do: off}]", "f.yaml, line 2, faults[0].rpc: 'Nothing' is no rpc"),
        (FIRST + "boom", "f.yaml, line 4, faults[0].terms[0]: has an unknown action 'boom'"),
        (FIRST + "hang\n        with: [soon]", "f.yaml, line 4, faults[0].terms[0]: cannot be: 'soon' is no duration"),
        (FIRST + "hang\n        times: 0", "f.yaml, line 5, faults[0].terms[0].times: Input should be greater"),
        (FIRST + "hang\n        p: 2", "f.yaml, line 5, faults[0].terms[0].p: Input should be less"),
        (FIRST + "unset", "f.yaml, line 4, faults[0].terms[0]: cannot be: unset has no meaning for ListContainers"),
        (FIRST + "off\n      - do: off", "faults[0].terms[0]: never leaves its term 'off'"),
        (FIRST + "off\n    select: {id: 123}", "f.yaml, line 5, faults[0].select.id: Input should be a valid string"),
        (FIRST + "off\n    from: 9s\n    until: 5s", "f.yaml, line 5, faults[0].from: is scheduled @9s..5s"),
        ("a: 2026-13-01", "f.yaml: no YAML: month must be in 1..12"),
    ],
)
def test_mistakes_are_told_with_file_line_and_key(text: str, says: str) -> None:
    with pytest.raises(DocumentError, match=r".+") as caught:
        load_faults(text, "f.yaml")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="No such file"):
        read_faults(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xe4")
    with pytest.raises(DocumentError, match="no text in UTF-8"):
        read_faults(tmp_path / "latin.yaml")


def read_line(line: str) -> FaultPlan | None:
    try:
        return parse_fault(line)
    except ValueError:
        return None


@settings(deadline=None)
@given(st.text(alphabet='LCaVersion:[]@.0123456789sm"\\->*(),= p', max_size=60) | st.text(max_size=30))
def test_any_line_is_a_fault_or_a_mistake(text: str) -> None:
    for line in (text, f"Version{text}", f"Version: {text}", f"Version[{text}]: off"):
        plan = read_line(line)
        assert plan is None or parse_fault(format_fault(plan)) == plan


@settings(deadline=None)
@given(st.text(alphabet="faults:rpcdo -{}[]\n\"'&*!|>%@0123456789", max_size=60))
def test_any_document_is_faults_or_a_mistake(text: str) -> None:
    for document in (text, f"faults:\n{text}"):
        with suppress(DocumentError):
            load_faults(document, "f.yaml")
