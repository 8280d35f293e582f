"""The ground truth: every change of a sandbox or container, as it happens, one JSON line each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, TextIO


@dataclass(frozen=True, slots=True)
class Change:
    """One change of state.

    `time_ns` is Unix time in ns; `uid` and `pod` are the pod's uid and name; `old` and `new` are CRI's enum names
    such as CONTAINER_RUNNING or SANDBOX_READY, None before the object is made and after it is gone.
    """

    time_ns: int
    uid: str
    pod: str
    id: str
    kind: Literal["sandbox", "container"]
    old: str | None
    new: str | None

    def json(self) -> str:
        """One line, without its end."""
        return json.dumps(asdict(self), separators=(",", ":"))


class JournalFile:
    """Writes changes to a text file and flushes each, so that a reader beside it sees them at once."""

    def __init__(self, file: TextIO, failed: Callable[[], None]) -> None:
        """`failed` is called once, when the file cannot be written any more; then `error` says why."""
        self._file = file
        self._failed = failed
        self.lines = 0
        self.error: OSError | None = None

    def __call__(self, change: Change) -> None:
        if self.error is not None:
            return
        try:
            self._file.write(change.json() + "\n")
            self._file.flush()
        except OSError as error:
            self.error = error
            self._failed()
        else:
            self.lines += 1
