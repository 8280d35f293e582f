"""The one-line syntax of faults, after fail(9): `RPC: N*term->term->...`."""

from __future__ import annotations

import re
from typing import Final

from cri.methods import METHODS
from fake_cri.faults.plan import FaultPlan, Term
from fake_cri.faults.registry import FAULTS

_TERM: Final = re.compile(r"(?:(?P<count>\d+)\s*\*\s*)?(?P<name>[A-Za-z_]+)\s*(?:\((?P<argument>[^()]*)\))?", re.ASCII)


def parse_fault(text: str) -> FaultPlan:
    """Reads e.g. `ListContainers: 20*off->hang(30s)->off`. Raises ValueError, one sentence fit for a user.

    `N*` covers N calls; `hang(D)` without a count lasts for its window; any other term without a count must be the
    last one, and lasts for ever. Past the last counted term calls pass.
    """
    rpc, colon, actions = text.partition(":")
    rpc = rpc.strip()
    if not colon or not actions.strip():
        raise ValueError(f"the fault {text!r} must read RPC: ACTIONS, as in 'ListContainers: 20*off->hang(30s)->off'")
    if rpc not in METHODS:
        raise ValueError(f"the fault {text!r} names no rpc of CRI v1: choose one of {', '.join(sorted(METHODS))}")
    parts = [part.strip() for part in actions.split("->")]
    terms = tuple(_term(text, part, last=number == len(parts)) for number, part in enumerate(parts, start=1))
    return FaultPlan(rpc, terms, text)


def _term(whole: str, part: str, *, last: bool) -> Term:
    usage = ", ".join(kind.usage for kind in FAULTS.values())
    match = _TERM.fullmatch(part)
    if match is None:
        raise ValueError(f"the fault {whole!r} has a term {part!r} that cannot be read: write [N*] and one of {usage}")
    kind = FAULTS.get(match["name"].lower())
    if kind is None:
        raise ValueError(f"the fault {whole!r} has an unknown action {match['name']!r}: choose one of {usage}")
    try:
        fault = kind.parse(match["argument"])
    except ValueError as error:
        raise ValueError(f"the fault {whole!r}: {error}") from None
    count = int(match["count"]) if match["count"] is not None else None
    if count == 0:
        raise ValueError(f"the fault {whole!r} has a term {part!r} that covers no call: count from 1")
    if count is None and not last and fault.window is None:
        raise ValueError(f"the fault {whole!r} never leaves its term {part!r}: give it a count, as in 3*{part}")
    return Term(fault, count)
