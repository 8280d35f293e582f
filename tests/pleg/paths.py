"""Whether the events of one container can be a path through the state table; a lost event starts the path anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pleg.lifecycle import PlegState
from pleg.pods import EventType, PodLifecycleEvent

RUNNING, EXITED, UNKNOWN, GONE = (
    PlegState.RUNNING,
    PlegState.EXITED,
    PlegState.UNKNOWN,
    PlegState.NON_EXISTENT,
)
ANYTHING: Final = frozenset(PlegState)


class Path:
    """The states in which a container can be after its events so far.

    A change to unknown is never sent. `strange` allows it from any state; else only what is new can become unknown,
    that is, created.
    """

    def __init__(self, *, strange: bool) -> None:
        self._strange = strange
        self.states: frozenset[PlegState] = self._with_silent({GONE})

    def follow(self, type_: EventType) -> bool:
        """Take one event; False when the table has no such way."""
        if type_ is EventType.CONTAINER_STARTED:
            reached = {RUNNING} if self.states - {RUNNING} else set()
        elif type_ is EventType.CONTAINER_DIED:
            reached = {EXITED} if self.states - {EXITED} else set()
        else:
            reached = {GONE} if EXITED in self.states else set()
        self.states = self._with_silent(reached)
        return bool(reached)

    def lose(self) -> None:
        """An event was dropped."""
        self.states = ANYTHING

    def _with_silent(self, states: set[PlegState]) -> frozenset[PlegState]:
        if GONE in states or (self._strange and states):
            return frozenset(states | {UNKNOWN})
        return frozenset(states)


def follow_all(seen: Iterable[tuple[str, PodLifecycleEvent]], *, strange: bool) -> dict[tuple[str, str], Path]:
    """Follow `event_sent` and `event_discarded` hooks, in their order. Fails on an event that leaves the table."""
    paths: dict[tuple[str, str], Path] = {}
    history: dict[Any, list[str]] = {}
    for hook, event in seen:
        if event.data is None:
            continue
        key = (event.uid, event.data)
        history.setdefault(key, []).append(f"{hook} {event.type}")
        path = paths.setdefault(key, Path(strange=strange))
        if hook == "event_discarded":
            path.lose()
        else:
            assert path.follow(event.type), f"{key} leaves the state table: {history[key]}"
    return paths
