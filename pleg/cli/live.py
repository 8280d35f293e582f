"""What `pleg run` says while it runs: its lines on stderr, and below them, on a terminal, one line that changes."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Mapping
from typing import Final

from cri.clock import MICROSECOND, MILLISECOND
from cri.durations import format_duration
from pleg.hooks import Hooks
from pleg.observe.writer import LineWriter
from pleg.pods import ContainerState, PodLifecycleEvent

_CLEAR: Final = "\r\x1b[K"
_RED: Final = "\x1b[31m"
_PLAIN: Final = "\x1b[0m"
#: Relists that the longest one is looked for in: about the last minute and a half.
_RELISTS: Final = 100


class Console:
    """Lines and a status line on one file, by a thread of its own: a terminal that stands still holds nothing up."""

    def __init__(self, fd: int, environment: Mapping[str, str] = os.environ) -> None:
        self.live = os.isatty(fd) and environment.get("TERM", "") != "dumb"
        self.colour = self.live and not environment.get("NO_COLOR")
        self._fd = fd
        self._status = ""
        self._writer = LineWriter(fd, drop_when_full=True)

    def line(self, text: str) -> None:
        """Say a line; it ends with a newline."""
        self._writer.write(f"{_CLEAR}{text}{self._status}" if self._status else text)

    def status(self, text: str, *, alarming: bool = False) -> None:
        """Replace the line that changes; nothing where there is no terminal."""
        if not self.live:
            return
        # From the runtime's own words nothing may reach the terminal but text, and that on one line.
        shown = "".join(char if char.isprintable() else " " for char in text)[: self._width() - 1]
        self._status = f"{_RED}{shown}{_PLAIN}" if shown and alarming and self.colour else shown
        self._writer.write(f"{_CLEAR}{self._status}")

    def close(self) -> None:
        """Clear the status line and write what is left, for half a second at most."""
        self.status("")
        if self._writer.dropped:
            self._writer.write(f"{self._writer.dropped} lines were dropped, for nobody read them\n")
        self._writer.close(0.5)

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._fd).columns or 80
        except OSError:
            return 80


class LiveView(Hooks):
    """Keeps the few numbers that the status line shows."""

    def __init__(self) -> None:
        self.events = 0
        self.ready: bool | None = None
        self._why = ""
        self._pods = 0
        self._containers: Counter[ContainerState] = Counter()
        self._relists: deque[int] = deque(maxlen=_RELISTS)

    def text(self, *, design: str, cached: int, waiting: str = "") -> str:
        """The status line, what matters most first: a narrow terminal cuts it off.

        `cached` is how many pods the cache holds, `waiting` what the node is waiting for.
        """
        parts = [design]
        if self.ready is not None:
            parts.append("Ready" if self.ready else "NotReady")
        parts += [f"{self._pods or cached} pods", f"{self._containers[ContainerState.RUNNING]} containers"]
        if self._relists:
            parts.append(f"relist {_short(self._relists[-1])} (max {_short(max(self._relists))})")
        parts.append(f"{self.events} events")
        if waiting:
            parts.append(waiting)
        if self.ready is False:
            parts.append(self._why)
        return "  ".join(parts)

    def running_pods(self, count: int, *, relative: bool = False) -> None:
        self._pods = self._pods + count if relative else count

    def running_containers(self, state: ContainerState, count: int, *, relative: bool = False) -> None:
        self._containers[state] = self._containers[state] + count if relative else count

    def relist_ended(self, duration: int, error: Exception | None) -> None:
        self._relists.append(duration)

    def event_read(self, event: PodLifecycleEvent, namespace: str, name: str) -> None:
        self.events += 1

    def node_condition(self, type_: str, status: str, reason: str, message: str, changed: bool) -> None:
        if type_ == "Ready":
            self.ready, self._why = status == "True", message


def _short(duration: int) -> str:
    """A duration to three digits or so: 1.2ms, 35ms, 2.13s."""
    unit = MICROSECOND if duration < MILLISECOND else 100 * MICROSECOND if duration < 10 * MILLISECOND else MILLISECOND
    return format_duration(round(duration / unit) * unit)
