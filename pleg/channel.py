"""The bounded channel between generators and the sync loop: a full one never blocks the writer, it counts the loss.

Follows the event channel of pkg/kubelet/pleg since Kubernetes 1.14 (k#72709).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from pleg.hooks import Hooks
from pleg.pods import PodLifecycleEvent

#: plegChannelCapacity of pkg/kubelet/kubelet.go.
DEFAULT_CAPACITY: Final = 1000


class EventChannel:
    """First in, first out; `discarded` counts events that found it full."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY, hooks: Hooks | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"a channel needs room for at least one event, not {capacity}")
        self.capacity = capacity
        self.discarded = 0
        #: Called after each event that went in; the sync loop wakes up by it.
        self.on_send: Callable[[], None] = lambda: None
        self._hooks = hooks if hooks is not None else Hooks()
        self._events: deque[PodLifecycleEvent] = deque()

    def __len__(self) -> int:
        return len(self._events)

    @property
    def full(self) -> bool:
        return len(self._events) >= self.capacity

    def send(self, event: PodLifecycleEvent) -> bool:
        """Put an event in, at once. False when the channel is full: the event is lost, and counted."""
        if self.full:
            self.discarded += 1
            self._hooks.event_discarded(event)
            return False
        self._events.append(event)
        self._hooks.event_sent(event)
        self.on_send()
        return True

    def receive(self) -> PodLifecycleEvent | None:
        """Take the oldest event out, at once; None when there is none."""
        return self._events.popleft() if self._events else None
