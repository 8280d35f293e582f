"""The pod cache: the newest known status of every pod, and readers that wait for a newer one.

Follows pkg/kubelet/container/cache.go of Kubernetes 1.36. Entries carry the time at which they are true, and one
global time promises that everything in the cache is at least that new. All times are Unix nanoseconds; 0 is the
beginning of time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import anyio

from pleg.pods import PodStatus


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What was last written about a pod. `status` is None after an inspection that failed before it had one."""

    status: PodStatus | None
    error: Exception | None
    modified: int
    observed: int


class PodCache:
    """Not thread-safe: one event loop. A missing entry means that the runtime has nothing of that pod."""

    def __init__(self, *, refuse_older: bool = False) -> None:
        """`refuse_older` is the behaviour behind the EventedPLEG gate: a write older than the entry is refused."""
        self._entries: dict[str, CacheEntry] = {}
        self._time: int | None = None
        self._waiting: dict[str, list[_Subscriber]] = {}
        self._refuse_older = refuse_older

    @property
    def time(self) -> int | None:
        """Everything in the cache is at least this new; None before the first `update_time`."""
        return self._time

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, uid: str) -> bool:
        return uid in self._entries

    def entries(self) -> Iterator[tuple[str, CacheEntry]]:
        """Every pod's uid and entry."""
        return iter(self._entries.items())

    def entry(self, uid: str) -> CacheEntry | None:
        """The raw entry, or None."""
        return self._entries.get(uid)

    def get(self, uid: str) -> tuple[PodStatus | None, Exception | None]:
        """The status of a pod at once; an empty status without error when there is no entry."""
        entry = self._entries.get(uid)
        if entry is None:
            return PodStatus(uid), None
        return entry.status, entry.error

    async def get_newer_than(self, uid: str, minimum: int) -> tuple[PodStatus | None, Exception | None]:
        """The status of a pod as of a time strictly after `minimum`; waits for it without limit. Cancellable."""
        if self._is_newer(uid, minimum):
            return self.get(uid)
        subscriber = _Subscriber(minimum)
        waiting = self._waiting.setdefault(uid, [])
        waiting.append(subscriber)
        try:
            await subscriber.woken.wait()
        finally:
            if subscriber in waiting:  # woken ones were taken out by _notify
                waiting.remove(subscriber)
                if not waiting and self._waiting.get(uid) is waiting:
                    del self._waiting[uid]
        return subscriber.answer

    def set(self, uid: str, status: PodStatus | None, error: Exception | None, timestamp: int) -> bool:
        """Write what an inspection at `timestamp` found, be it an error. False when refused as older."""
        entry = self._entries.get(uid)
        if self._refuse_older and entry is not None and entry.modified > timestamp:
            return False
        self._entries[uid] = CacheEntry(status, error, timestamp, timestamp)
        self._notify(uid, timestamp)
        return True

    def set_observed_time(self, uid: str, timestamp: int) -> None:
        """The pod was looked at, and its entry still holds. Wakes readers even where there is no entry."""
        entry = self._entries.get(uid)
        if entry is not None:
            self._entries[uid] = CacheEntry(entry.status, entry.error, entry.modified, timestamp)
        self._notify(uid, timestamp)

    def delete(self, uid: str) -> None:
        """Forget a pod. Readers are not woken: they get the empty status at the next `update_time`."""
        self._entries.pop(uid, None)

    def update_time(self, timestamp: int) -> None:
        """Promise that everything is at least as new as `timestamp`. It may step back, as upstream's may."""
        self._time = timestamp
        for uid in list(self._waiting):
            self._notify(uid, timestamp)

    def _is_newer(self, uid: str, minimum: int) -> bool:
        if self._time is not None and self._time > minimum:
            return True
        entry = self._entries.get(uid)
        return entry is not None and (entry.modified > minimum or entry.observed > minimum)

    def _notify(self, uid: str, timestamp: int) -> None:
        # Laxer than _is_newer, as upstream: an equal time wakes a reader, though a fresh call would wait.
        waiting = self._waiting.get(uid)
        if waiting is None:
            return
        still: list[_Subscriber] = []
        for subscriber in waiting:
            if timestamp < subscriber.minimum:
                still.append(subscriber)
            else:
                subscriber.answer = self.get(uid)
                subscriber.woken.set()
        waiting[:] = still
        if not still:
            del self._waiting[uid]


class _Subscriber:
    __slots__ = ("answer", "minimum", "woken")

    def __init__(self, minimum: int) -> None:
        self.minimum = minimum
        self.woken = anyio.Event()
        self.answer: tuple[PodStatus | None, Exception | None] = (None, None)
