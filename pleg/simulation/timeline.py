"""What an operator would want to know of a run, in the order of time: which call hung, what failed, who said so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cri.clock import SECOND, Clock
from cri.durations import format_duration
from cri.transport import CriError
from pleg.hooks import Hooks
from pleg.pods import Call

#: A call that takes longer is told of.
_LONG_CALL: Final = SECOND
#: Log lines worth a place; the others say what the timeline says anyway.
_TOLD: Final = ("Skipping pod synchronization", "Housekeeping took longer than expected")
_AGO: Final = re.compile(r"active \S+ ago")


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened `at` (monotonic ns), and which part of the node it happened to."""

    at: int
    part: str
    text: str


class Timeline(Hooks):
    """Collects entries; the same line of the log comes once, however often it is repeated."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: list[Entry] = []
        self._relist_started = 0
        self._failing = self._failed = False
        self._said: set[str] = set()
        #: Monotonic ns at which the last good relist before the first failure began.
        self.last_good = 0

    def entries(self) -> list[Entry]:
        """In the order of time."""
        return sorted(self._entries, key=lambda entry: entry.at)

    def _note(self, part: str, text: str, at: int | None = None) -> None:
        self._entries.append(Entry(self._clock.monotonic() if at is None else at, part, text))

    def call_ended(
        self, call: Call, duration: int, error: Exception | None, sent: int, received: int, items: int
    ) -> None:
        if duration > _LONG_CALL and call.rpc != "GetContainerEvents":
            began = self._clock.monotonic() - duration
            how = "and then answers" if error is None else f"and fails: {_code(error)}"
            self._note(
                "runtime", f"{call.rpc} hangs for {call.caller}, {format_duration(_rounded(duration))}, {how}", began
            )

    def relist_started(self, interval: int | None) -> None:
        self._relist_started = self._clock.monotonic()

    def relist_ended(self, duration: int, error: Exception | None) -> None:
        if error is not None:
            self._failing = self._failed = True
            self._note("relist", "GenericPLEG: Unable to retrieve pods; the next attempt comes 1s later")
        elif self._failing:
            self._failing = False
            self._said.clear()
            self._note("relist", "a relist succeeds again")
        elif not self._failed:
            self.last_good = self._relist_started

    def log(self, severity: str, source: str, message: str, /, v: int = 0, **values: object) -> None:
        if message not in _TOLD:
            return
        detail = values.get("err") if message == _TOLD[0] else values.get("actual")
        text = f"{message}: {detail}"
        known = _AGO.sub("", text) if message == _TOLD[0] else text
        if known not in self._said:
            self._said.add(known)
            self._note("sync loop", text)

    def node_condition(self, type_: str, status: str, reason: str, message: str, changed: bool) -> None:
        if changed:
            self._note("node", f"{type_} {status} ({reason}): {message}")


def _code(error: Exception) -> str:
    return error.code.go_name if isinstance(error, CriError) else str(error)


def _rounded(duration: int) -> int:
    return round(duration / (SECOND // 10)) * (SECOND // 10)
