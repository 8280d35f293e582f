"""Calls to the runtime that are under way: what a hung relist is waiting for, and since when."""

from __future__ import annotations

from typing import Final

from cri.clock import SECOND
from pleg.hooks import Hooks
from pleg.observe.snapshot import snapshot
from pleg.pods import Call

#: A call under way for this long (ns) is shown as blocking.
BLOCKING_AFTER: Final = SECOND

#: Calls that are meant to last.
_ENDLESS: Final = frozenset({"GetContainerEvents"})


class InFlight(Hooks):
    """Keeps the calls that started and did not end. Read from any thread."""

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}

    def call_started(self, call: Call) -> None:
        self._calls[id(call)] = call

    def call_ended(
        self, call: Call, duration: int, error: Exception | None, sent: int, received: int, items: int
    ) -> None:
        self._calls.pop(id(call), None)

    def calls(self) -> list[Call]:
        """All calls under way, oldest first."""
        return sorted(snapshot(self._calls.values), key=lambda call: call.since)

    def blocking(self, now: int) -> list[Call]:
        """Calls that began at least a second before `now` (Unix ns), oldest first; never the event stream."""
        return [call for call in self.calls() if now - call.since >= BLOCKING_AFTER and call.rpc not in _ENDLESS]
