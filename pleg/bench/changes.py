"""What became of each change of the runtime: seen on time, late, never by itself, and why. Pure.

A change is a line of the journal, a sighting is a pod lifecycle event read by the sync loop.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cri.clock import MILLISECOND, SECOND
from pleg.kubelet import Pleg
from pleg.pods import EventType

#: Later than this is late, ns.
ON_TIME: Final = SECOND
#: Two processes read one clock, but not in one instant, ns.
_SLACK: Final = 5 * MILLISECOND
#: What a busy machine may take from the end of a relist, or the arrival of an event, to the reading of it, ns.
_READING: Final = 2 * SECOND


class Outcome(enum.StrEnum):
    """The classes of changes; each change is in one."""

    ON_TIME = "on time"
    LATE = "late"
    COALESCED = "coalesced"
    RELIST_ONLY = "relist-only"
    #: Nothing told of it, and nothing ever will: where a design is known for that, it is no bug of ours.
    NEVER = "never"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the journal that has an event in the state table. `at` is Unix ns."""

    at: int
    uid: str
    id: str
    expected: EventType


@dataclass(frozen=True, slots=True)
class Sighting:
    """One event, read at `at` (Unix ns)."""

    at: int
    id: str
    type: EventType


@dataclass(frozen=True, slots=True)
class Watch:
    """How the PLEG watched. Times are Unix ns."""

    pleg: Pleg
    #: Start and end of each global relist.
    relists: Sequence[tuple[int, int]] = ()
    #: Arrival, container id and type (CRI's number) of each event of the stream.
    stream: Sequence[tuple[int, str, int]] = ()
    #: Likewise, of events without the status of their sandbox: they are dropped.
    dropped: Sequence[tuple[int, str, int]] = ()
    #: Pause of the polling workers, ns.
    poll_period: int = 10 * SECOND
    #: When the relist was forced that ends the run, if any.
    forced_relist: int | None = None


@dataclass(slots=True)
class Verdict:
    """The outcomes of one run. `causes` counts, per class or "duplicates", the sentences that explain it."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    causes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    latencies: list[int] = field(default_factory=list)
    duplicates: int = 0
    unexplained: list[Change] = field(default_factory=list)

    @property
    def changes(self) -> int:
        return sum(self.outcomes.values())

    def latency(self, quantile: float) -> int | None:
        """The latency (ns) below which this share of the seen changes lies; None when none was seen."""
        if not self.latencies:
            return None
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


_EXPECTED: Final = {
    "CONTAINER_RUNNING": EventType.CONTAINER_STARTED,
    "SANDBOX_READY": EventType.CONTAINER_STARTED,
    "CONTAINER_EXITED": EventType.CONTAINER_DIED,
    "SANDBOX_NOTREADY": EventType.CONTAINER_DIED,
    None: EventType.CONTAINER_REMOVED,
}
#: CRI's numbers of the events that tell of a change.
_TOLD_BY: Final = {EventType.CONTAINER_STARTED: 1, EventType.CONTAINER_DIED: 2, EventType.CONTAINER_REMOVED: 3}


def from_journal(lines: Iterable[dict[str, Any]]) -> list[Change]:
    """The changes that have an event: a container that is only created has none."""
    return [
        Change(line["time_ns"], line["uid"], line["id"], _EXPECTED[line["new"]])
        for line in lines
        if line["new"] in _EXPECTED
    ]


def judge(changes: Iterable[Change], sightings: Iterable[Sighting], watch: Watch, *, since: int) -> Verdict:
    """Put each change from `since` (Unix ns) on into its class, and count what was seen twice."""
    seen: dict[str, dict[EventType, list[int]]] = defaultdict(lambda: defaultdict(list))
    for sighting in sightings:
        seen[sighting.id][sighting.type].append(sighting.at)
    told: dict[tuple[str, int], int] = {}
    for at, id_, kind in watch.stream:
        told.setdefault((id_, kind), at)
    dropped = {(id_, kind) for _, id_, kind in watch.dropped}
    starts = [start for start, _ in watch.relists]
    verdict = Verdict()
    changes = list(changes)
    lives: dict[str, tuple[int, int]] = {}
    for change in changes:
        lives[change.id] = (lives.get(change.id, (change.at, 0))[0], change.at)
    for change in changes:
        if change.at >= since:
            times = [at for at in seen[change.id][change.expected] if at >= change.at - _SLACK]
            key = (change.id, _TOLD_BY[change.expected])
            if times:
                outcome, cause = _seen(change, min(times), told.get(key), key in dropped, watch, starts)
            else:
                untold = told.get(key) is None
                outcome, cause = _unseen(change, seen[change.id], lives[change.id], untold, watch)
            verdict.outcomes[outcome] += 1
            verdict.causes[outcome][cause] += 1
            if times:
                verdict.latencies.append(max(0, min(times) - change.at))
            if outcome is Outcome.UNEXPLAINED:
                verdict.unexplained.append(change)
    for types in seen.values():
        for type_, times in types.items():
            for at in sorted(times)[1:]:
                verdict.duplicates += 1
                verdict.causes["duplicates"][_duplicate(type_, at, watch)] += 1
    return verdict


def _seen(
    change: Change, at: int, arrival: int | None, dropped: bool, watch: Watch, starts: Sequence[int]
) -> tuple[Outcome, str]:
    if at - change.at <= ON_TIME:
        return Outcome.ON_TIME, ""
    if watch.pleg == "polling":
        if at - change.at <= 2 * watch.poll_period + _READING:
            return Outcome.LATE, "each pod is looked at every 10 s, a new one is found within another 10 s"
        return Outcome.UNEXPLAINED, "later than two polling periods"
    next_relist = bisect_left(starts, change.at)
    by_next_relist = next_relist < len(starts) and at <= watch.relists[next_relist][1] + _READING
    if watch.pleg == "generic":
        if by_next_relist:
            return Outcome.LATE, "the next relist began 1 s after the end of the last, and took its own time"
        return Outcome.UNEXPLAINED, "later than the first relist that began after the change"
    if dropped and by_next_relist:
        return Outcome.RELIST_ONLY, "its event lacked the sandbox's status and was dropped (k#114371): a relist told"
    if arrival is None and by_next_relist:
        return Outcome.RELIST_ONLY, "the stream told nothing of it, the next relist did"
    if watch.pleg == "hinted" and by_next_relist:
        return Outcome.LATE, "starts and removals are no hints: the next relist, 1 s after the last, saw them"
    if arrival is not None and at - arrival <= _READING:
        return Outcome.LATE, "the runtime's event arrived late, or a busy machine read it late"
    return Outcome.UNEXPLAINED, "neither a relist nor the stream explains it"


def _unseen(
    change: Change, seen: dict[EventType, list[int]], life: tuple[int, int], untold: bool, watch: Watch
) -> tuple[Outcome, str]:
    newer = [at for times in seen.values() for at in times if at >= change.at - _SLACK]
    if newer:
        return Outcome.COALESCED, "a newer change of the same container was seen in the same look"
    if not any(seen.values()) and watch.pleg != "evented":
        return Outcome.COALESCED, "it came and went between two looks"
    if watch.pleg == "evented" and untold and not any(was_listed(life, relist) for relist in watch.relists):
        return Outcome.NEVER, "the runtime's events do not tell of it, and it was born and gone between two relists"
    return Outcome.UNEXPLAINED, "no event of its own, and none after it"


def was_listed(life: tuple[int, int], relist: tuple[int, int]) -> bool:
    """Whether a relist lies wholly within a life from its first to its last change, so that it saw it."""
    return life[0] <= relist[0] and relist[1] <= life[1]


def _duplicate(type_: EventType, at: int, watch: Watch) -> str:
    if watch.pleg != "evented":
        return "unexplained"
    if watch.forced_relist is not None and at >= watch.forced_relist:
        return "events do not advance the relist's records: the closing relist found everything once more"
    if type_ is EventType.CONTAINER_DIED:
        return "the runtime's DELETED is sent as Died and Removed, after the Died of its STOPPED"
    if any(start <= at <= end + _READING for start, end in watch.relists):
        return "a relist found once more what an event had told"
    return "unexplained"
