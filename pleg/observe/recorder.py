"""The event feed: what the sync loop read, as JSON lines for a file and as the last thousand for `/events`."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Final

from cri.clock import Clock, rfc3339
from pleg.hooks import Hooks
from pleg.observe.snapshot import snapshot
from pleg.pods import PodLifecycleEvent

#: How many events `/events` shows.
KEPT: Final = 1000


class EventFeed(Hooks):
    """Notes each pod lifecycle event at the moment the sync loop takes it out of the channel."""

    def __init__(self, clock: Clock, write: Callable[[str], object] | None = None, *, kept: int = KEPT) -> None:
        """`write` gets each line, with its newline; it must not block."""
        self._clock = clock
        self._write = write
        self._last: deque[str] = deque(maxlen=kept)
        #: Events read so far.
        self.count = 0

    def event_read(self, event: PodLifecycleEvent, namespace: str, name: str) -> None:
        line = to_json(self._clock.now(), event, namespace, name)
        self.count += 1
        self._last.append(line)
        if self._write is not None:
            self._write(f"{line}\n")

    def last(self) -> list[str]:
        """The JSON of the last events, oldest first. From any thread."""
        return snapshot(lambda: self._last)


def to_json(time: int, event: PodLifecycleEvent, namespace: str, name: str) -> str:
    """One line without its newline: time of reading (Unix ns in), uid, namespace, name, type, id (null for PodSync)."""
    fields = {
        "time": rfc3339(time),
        "uid": event.uid,
        "namespace": namespace,
        "name": name,
        "type": event.type.value,
        "id": event.data,
    }
    return json.dumps(fields, ensure_ascii=False)
