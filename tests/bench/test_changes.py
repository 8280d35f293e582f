"""Each change is put into one class, and each class has its causes; what nothing explains is said to be unexplained."""

from __future__ import annotations

from typing import Final

import pytest

from cri.clock import MILLISECOND, SECOND
from pleg.bench.changes import Change, Outcome, Sighting, Verdict, Watch, from_journal, judge
from pleg.kubelet import Pleg
from pleg.pods import EventType

STARTED, DIED, REMOVED = EventType.CONTAINER_STARTED, EventType.CONTAINER_DIED, EventType.CONTAINER_REMOVED
T: Final = 1_000 * SECOND


def change(expected: EventType, at: int = T, id_: str = "c") -> Change:
    return Change(at, "pod", id_, expected)


def seen(type_: EventType, after: int, id_: str = "c") -> Sighting:
    return Sighting(T + after, id_, type_)


def verdict(watch: Watch, changes: list[Change], sightings: list[Sighting]) -> Verdict:
    return judge(changes, sightings, watch, since=T)


def only(watch: Watch, changes: list[Change], sightings: list[Sighting]) -> Outcome:
    (outcome,) = verdict(watch, changes, sightings).outcomes
    return outcome


RELISTS: Final = [(T - SECOND // 2, T - SECOND // 3), (T + SECOND * 6 // 10, T + SECOND * 11 // 10)]


@pytest.mark.parametrize("pleg", ["polling", "generic", "evented", "hinted"])
def test_within_a_second_is_on_time_under_every_design(pleg: Pleg) -> None:
    assert only(Watch(pleg), [change(DIED)], [seen(DIED, SECOND)]) is Outcome.ON_TIME


def test_late_is_explained_by_the_first_relist_after_the_change() -> None:
    watch = Watch("generic", relists=RELISTS)
    assert only(watch, [change(DIED)], [seen(DIED, SECOND * 11 // 10)]) is Outcome.LATE
    assert only(watch, [change(DIED)], [seen(DIED, 4 * SECOND)]) is Outcome.UNEXPLAINED
    assert only(Watch("generic"), [change(DIED)], [seen(DIED, 2 * SECOND)]) is Outcome.UNEXPLAINED


def test_polling_may_take_two_periods() -> None:
    assert only(Watch("polling"), [change(DIED)], [seen(DIED, 20 * SECOND)]) is Outcome.LATE
    assert only(Watch("polling"), [change(DIED)], [seen(DIED, 23 * SECOND)]) is Outcome.UNEXPLAINED


@pytest.mark.parametrize("pleg", ["evented", "hinted"])
def test_late_without_an_event_of_the_stream_is_relist_only(pleg: Pleg) -> None:
    late = [seen(DIED, SECOND * 11 // 10)]
    assert only(Watch(pleg, relists=RELISTS), [change(DIED)], late) is Outcome.RELIST_ONLY
    told = Watch(pleg, relists=RELISTS, stream=[(T + SECOND, "c", 2)])
    assert only(told, [change(DIED)], late) is Outcome.LATE


def test_a_newer_change_of_the_same_container_coalesces() -> None:
    changes = [change(STARTED), change(DIED, T + 100 * MILLISECOND)]
    result = verdict(Watch("generic"), changes, [seen(DIED, 500 * MILLISECOND)])
    assert result.outcomes == {Outcome.COALESCED: 1, Outcome.ON_TIME: 1}


LIFE = [change(STARTED), change(DIED, T + 1), change(REMOVED, T + 2)]


def test_a_life_between_two_looks_coalesces() -> None:
    assert only(Watch("generic"), LIFE, []) is Outcome.COALESCED


def test_under_evented_a_life_of_which_nothing_tells_is_never_seen() -> None:
    """kubelet facts 3.7 row 7: no event, and a relist visits only what is listed or on record."""
    assert only(Watch("evented", relists=[(T - 2, T - 1), (T + 3, T + 4)]), LIFE, []) is Outcome.NEVER
    assert only(Watch("evented", relists=[(T + 1, T + 2)]), LIFE, []) is Outcome.UNEXPLAINED
    told = [(T, "c", kind) for kind in (1, 2, 3)]
    assert only(Watch("evented", stream=told), LIFE, []) is Outcome.UNEXPLAINED


def test_an_event_that_is_dropped_leaves_the_change_to_a_relist() -> None:
    """containerd 1.7 sends a sandbox's DELETED without the sandbox's status."""
    watch = Watch("evented", relists=RELISTS, dropped=[(T, "c", 3)])
    result = verdict(watch, [change(REMOVED)], [seen(REMOVED, SECOND * 11 // 10)])
    assert list(result.outcomes) == [Outcome.RELIST_ONLY]
    assert "k#114371" in next(iter(result.causes[Outcome.RELIST_ONLY]))


def test_an_older_event_does_not_explain_a_change() -> None:
    assert only(Watch("generic"), [change(REMOVED)], [seen(STARTED, -5 * SECOND)]) is Outcome.UNEXPLAINED


def test_changes_before_the_window_are_not_judged() -> None:
    assert verdict(Watch("generic"), [change(DIED, T - 1)], []).changes == 0


def test_duplicates_are_counted_with_their_cause() -> None:
    sightings = [seen(DIED, 1), seen(DIED, 2), seen(DIED, 50 * SECOND)]
    result = verdict(Watch("evented", forced_relist=T + 40 * SECOND), [change(DIED)], sightings)
    assert result.duplicates == 2
    assert sorted(result.causes["duplicates"].values()) == [1, 1]
    assert verdict(Watch("generic"), [], sightings).causes["duplicates"] == {"unexplained": 2}


def test_quantiles_are_of_seen_changes() -> None:
    changes = [change(DIED, id_=str(n)) for n in range(100)]
    result = verdict(Watch("generic"), changes, [seen(DIED, n * MILLISECOND, str(n)) for n in range(100)])
    assert result.latency(0.5) == 50 * MILLISECOND
    assert result.latency(0.99) == 99 * MILLISECOND
    assert Verdict().latency(0.5) is None


def test_a_container_that_is_only_created_has_no_event() -> None:
    line = {"time_ns": 1, "uid": "u", "pod": "p", "id": "c", "kind": "container", "old": None}
    found = from_journal([{**line, "new": new} for new in ("CONTAINER_CREATED", "CONTAINER_RUNNING", None)])
    assert [c.expected for c in found] == [STARTED, REMOVED]
