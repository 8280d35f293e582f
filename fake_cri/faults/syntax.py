"""The one-line syntax of faults, after fail(9), both ways.

RPC [SELECTOR] [@FROM..UNTIL] [after N calls]: [N*]ACTION [p=P] -> ...
SELECTOR is [pod=NAMESPACE/NAME,container=NAME,uid=UID,id=PREFIX], any of them
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from cri.durations import format_duration, parse_duration
from cri.methods import METHODS
from fake_cri.faults.events import EVENT, EventFault
from fake_cri.faults.incident import RUNTIME, Incident
from fake_cri.faults.off import Off
from fake_cri.faults.plan import FaultPlan, Term
from fake_cri.faults.registry import FAULTS
from fake_cri.faults.target import KEYS, Schedule, Selector
from fake_cri.faults.text import QUOTED, arguments, quote, split, unquote, written

_HEAD: Final = re.compile(
    rf"""\s*(?P<rpc>[^\s:\[@]*)\s*
    (?:\[(?P<selector>(?:{QUOTED}|[^\]"])*)\]\s*)?
    (?:@\s*(?P<begin>[\w.]*?)\s*(?:(?P<span>\.\.)\s*(?P<end>[\w.]*)\s*)?)?
    (?:after\s+(?P<after>[0-9]+)\s+calls?\s*)?
    :(?P<actions>.*)""",
    re.VERBOSE | re.DOTALL,
)
_TERM: Final = re.compile(
    r"(?:(?P<count>\d+)\s*\*\s*)?(?P<name>[A-Za-z_]+)\s*(?:\((?P<given>.*)\))?(?:\s+p\s*=\s*(?P<p>[\d.]+))?",
    re.ASCII | re.DOTALL,
)


def parse_fault(text: str) -> FaultPlan:
    """Reads e.g. `ListContainers: 20*off->hang(30s)->off`. Raises ValueError, one sentence fit for a user.

    `N*` covers N calls; `hang(D)` without a count lasts for its window; any other term without a count must be the
    last one, and lasts for ever. Past the last counted term calls pass.
    """
    head = _HEAD.fullmatch(text)
    if head is None or not head["actions"].strip():
        example = "'ListContainers: 20*off->hang(30s)->off'"
        raise ValueError(
            f"the fault {text!r} must read RPC: ACTIONS, as in {example}; between RPC and the colon may stand "
            "[SELECTOR], @FROM..UNTIL and after N calls"
        )
    rpc = head["rpc"]
    if rpc not in (RUNTIME, EVENT) and rpc not in METHODS:
        known = ", ".join(sorted(METHODS))
        raise ValueError(f"the fault {text!r} names no rpc of CRI v1: choose one of {known}, {EVENT} or {RUNTIME}")
    try:
        selector = _selector(head["selector"])
        begin, end = head["begin"], head["end"]
        schedule = make_schedule(begin or None, end or None, int(head["after"] or 0))
        if begin == "" and not end:
            raise ValueError("after the @ stands a time, as in @10s or @10s..40s")
        parts = split(head["actions"], "->")
        terms = tuple(_term(part, rpc, last=number == len(parts)) for number, part in enumerate(parts, start=1))
        check_target(rpc, selector, schedule, terms)
    except ValueError as error:
        raise ValueError(f"the fault {text!r} {error}") from None
    return FaultPlan(rpc, terms, text, selector, schedule)


def make_schedule(begin: str | None, end: str | None, after: int) -> Schedule:
    """From texts. Raises ValueError."""
    schedule = Schedule(parse_duration(begin or "0"), parse_duration(end) if end is not None else None, after)
    if schedule.begin < 0 or (schedule.end is not None and schedule.end <= schedule.begin):
        raise ValueError(f"is scheduled @{begin or ''}..{end or ''}, which is no time: it must begin before it ends")
    return schedule


def check_target(rpc: str, selector: Selector, schedule: Schedule, terms: Sequence[Term]) -> None:
    """Raises ValueError where what is to happen to events or to the runtime as a whole happens to something else."""
    if rpc == EVENT:
        others = [term.fault.name for term in terms if not isinstance(term.fault, EventFault | Off)]
        if others:
            raise ValueError(f"cannot be: {others[0]} happens to no event: name another target than {EVENT}")
    if rpc != RUNTIME:
        return
    strangers = [term.fault.name for term in terms if not isinstance(term.fault, Incident)]
    if strangers:
        raise ValueError(f"cannot be: {strangers[0]} does not happen to {RUNTIME}: name another target")
    plain = len(terms) == 1 and terms[0].count is None and terms[0].probability == 1
    if not plain or not selector.everything or schedule.after:
        raise ValueError(f"cannot be: {RUNTIME} takes one action and a span of time, as in 'Runtime @10s: restart(5s)'")


def make_term(
    rpc: str, name: str, given: tuple[str, ...], *, count: int | None, probability: float, last: bool
) -> Term:
    """From its parts. Raises ValueError."""
    usage = ", ".join(kind.usage for kind in FAULTS.values())
    kind = FAULTS.get(name.lower())
    if kind is None:
        raise ValueError(f"has an unknown action {name!r}: choose one of {usage}")
    try:
        fault = kind.parse(given)
        if rpc in METHODS:
            fault.check(METHODS[rpc])
    except ValueError as error:
        raise ValueError(f"cannot be: {error}") from None
    shown = written(name, given)
    if count == 0:
        raise ValueError(f"has a term {shown!r} that covers no call: count from 1")
    if not 0 < probability <= 1:
        raise ValueError(f"has a term {shown!r} with p={probability:g}: a probability is above 0 and at most 1")
    if count is None and not last and fault.window is None:
        raise ValueError(f"never leaves its term {shown!r}: give it a count, as in 3*{shown}")
    return Term(fault, count, probability)


def format_fault(plan: FaultPlan) -> str:
    """One line that `parse_fault` reads as an equal plan."""
    head = plan.rpc
    pairs = plan.selector.pairs()
    if pairs:
        head += f"[{','.join(f'{key}={quote(value)}' for key, value in pairs.items())}]"
    schedule = plan.schedule
    if schedule.end is not None:
        head += f" @{format_duration(schedule.begin)}..{format_duration(schedule.end)}"
    elif schedule.begin:
        head += f" @{format_duration(schedule.begin)}"
    if schedule.after:
        head += f" after {schedule.after} calls"
    return f"{head}: {'->'.join(_format_term(term) for term in plan.terms)}"


def _format_term(term: Term) -> str:
    text = written(term.fault.name, term.fault.arguments)
    if term.count is not None:
        text = f"{term.count}*{text}"
    return text if term.probability == 1 else f"{text} p={term.probability!r}"


def _selector(text: str | None) -> Selector:
    if text is None:
        return Selector()
    pairs: dict[str, str] = {}
    for part in split(text, ","):
        key, equals, value = part.partition("=")
        key, value = key.strip(), unquote(value.strip())
        if key not in KEYS or not equals or not value:
            raise ValueError(f"selects by {part!r}: write one of {', '.join(f'{known}=...' for known in KEYS)}")
        if key in pairs:
            raise ValueError(f"selects by {key} twice")
        pairs[key] = value
    return Selector(**pairs)


def _term(part: str, rpc: str, *, last: bool) -> Term:
    match = _TERM.fullmatch(part)
    try:
        probability = float(match["p"]) if match is not None and match["p"] else 1.0
    except ValueError:
        match, probability = None, 1.0
    if match is None:
        usage = ", ".join(kind.usage for kind in FAULTS.values())
        raise ValueError(f"has a term {part!r} that cannot be read: write [N*] and one of {usage}")
    count = int(match["count"]) if match["count"] is not None else None
    given = arguments(match["given"])
    return make_term(rpc, match["name"], given, count=count, probability=probability, last=last)
