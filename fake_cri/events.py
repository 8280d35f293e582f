"""The event stream: which events a change sends, what they carry, and their fan-out to subscribers.

Each subscriber has a queue of its own. A subscriber that comes later gets nothing of what was before it.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from random import Random
from typing import Final, Protocol

import anyio

from cri.clock import Clock, seconds
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb
from fake_cri.faults.events import Passing
from fake_cri.journal import Change
from fake_cri.objects import Container, Sandbox
from fake_cri.profiles import Profile
from fake_cri.state import Moment, State

#: What Go's `time.Time{}.UnixNano()` overflows to: containerd 2.4 dates a removed sandbox by it.
_GO_ZERO_TIME: Final = -6_795_364_578_871_345_152


class BufferRule(Protocol):
    """What becomes of an event for a subscriber that has not read those before it."""

    def push(self, queue: deque[bytes], event: bytes) -> int:
        """Put it into the queue, or not; returns how many events were lost by that."""
        ...


class KeepAll:
    """Nothing is lost, however far behind the subscriber is."""

    def push(self, queue: deque[bytes], event: bytes) -> int:
        queue.append(event)
        return 0


class DropNewest:
    """A queue of fixed length; what comes while it is full is lost without a word."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity

    def push(self, queue: deque[bytes], event: bytes) -> int:
        if len(queue) >= self._capacity:
            return 1
        queue.append(event)
        return 0


class Subscription:
    """One GetContainerEvents call: iterate over its serialized events."""

    def __init__(self, rule: BufferRule, clock: Clock) -> None:
        self._rule = rule
        self._clock = clock
        self._late: list[tuple[int, int, bytes]] = []
        self._number = 0
        self._not_before = 0
        self._queue: deque[bytes] = deque()
        self._wake: anyio.Event | None = None
        self._end: CriError | None = None
        self.lost = 0

    def push(self, passing: Passing) -> None:
        """The event arrives after its delay; unless it is out of order, not before those that came before it."""
        now = self._clock.monotonic()
        due = now + passing.delay
        if passing.ordered:
            self._not_before = due = max(due, self._not_before)
        if due <= now:
            self.lost += self._rule.push(self._queue, passing.event)
        else:
            self._number += 1
            heapq.heappush(self._late, (due, self._number, passing.event))
        self._rouse()

    def end(self, error: CriError) -> None:
        """The stream ends with `error` once its queue is read."""
        self._end = error
        self._rouse()

    def _rouse(self) -> None:
        if self._wake is not None:
            self._wake.set()

    async def next(self) -> bytes:
        """Waits for an event. Raises the CriError with which the stream ends."""
        while True:
            now = self._clock.monotonic()
            while self._late and self._late[0][0] <= now:
                self.lost += self._rule.push(self._queue, heapq.heappop(self._late)[2])
            if self._queue:
                break
            if self._end is not None:
                raise self._end
            self._wake = anyio.Event()
            left = seconds(self._late[0][0] - now) if self._late else math.inf
            with anyio.move_on_after(left):
                await self._wake.wait()
        return self._queue.popleft()


def _whole(event: bytes, _subject: Sandbox | Container) -> Sequence[Passing]:
    return (Passing(event),)


class Events:
    """Turns changes into events, by the profile's table."""

    def __init__(self, profile: Profile, state: State, clock: Clock, rng: Random) -> None:
        self._profile = profile
        self._state = state
        self._clock = clock
        self._rng = rng
        self._subscriptions: list[Subscription] = []
        self._end: CriError | None = None
        queue = profile.events.queue
        self._rule: BufferRule = KeepAll() if queue is None else DropNewest(queue)
        self._types: dict[Moment, list[pb.ContainerEventType.ValueType]] = {
            moment: [
                pb.ContainerEventType.Value(f"CONTAINER_{name}_EVENT") for name in getattr(profile.events, moment.value)
            ]
            for moment in Moment
        }
        self._last_time = 0
        self._turn = 0
        #: What arrives of an event at one subscriber.
        self.deliver: Callable[[bytes, Sandbox | Container], Sequence[Passing]] = _whole
        self.sent = 0
        self.lost = 0

    @property
    def subscribers(self) -> int:
        return len(self._subscriptions)

    def changed(self, moment: Moment, subject: Sandbox | Container, change: Change) -> None:
        """Sends the events of one change to whoever listens now."""
        if not self._subscriptions:
            return
        for event_type in self._types[moment]:
            event = self._message(event_type, moment, subject, change)
            for subscription in self._receivers():
                for passing in self.deliver(event, subject):
                    subscription.push(passing)
                    self.sent += 1

    def _receivers(self) -> list[Subscription]:
        """Who gets the next event: everybody, or, where subscribers share one channel, the next in turn."""
        if self._profile.events.subscribers == "all":
            return self._subscriptions
        self._turn = (self._turn + 1) % len(self._subscriptions)
        return [self._subscriptions[self._turn]]

    def _message(
        self, event_type: pb.ContainerEventType.ValueType, moment: Moment, subject: Sandbox | Container, change: Change
    ) -> bytes:
        rules = self._profile.events
        sandbox = subject if isinstance(subject, Sandbox) else subject.sandbox
        self._last_time = max(change.time_ns, self._last_time + 1)  # no two are made at once
        event = pb.ContainerEventResponse(
            container_id=change.id, container_event_type=event_type, created_at=self._last_time
        )
        removed = moment is Moment.SANDBOX_REMOVED
        if not removed or rules.removed_sandbox_status != "none":
            event.pod_sandbox_status.CopyFrom(self._state.messages.sandbox_status(sandbox))
        if removed and rules.removed_sandbox_status == "without-time":
            event.pod_sandbox_status.created_at = _GO_ZERO_TIME
        containers = self.containers_of(sandbox)
        event.containers_statuses.extend(self._state.messages.container_status(container) for container in containers)
        return event.SerializeToString(deterministic=True)

    def containers_of(self, sandbox: Sandbox) -> list[Container]:
        """Those whose statuses go with the sandbox's, in this runtime's order."""
        rules = self._profile.events
        if rules.containers_by == "sandbox":
            containers = list(sandbox.containers.values())
        else:
            containers = self._state.containers_labelled(sandbox.uid)
        if rules.containers_order == "random":
            self._rng.shuffle(containers)
        else:
            containers.reverse()
        return containers

    async def subscribe(self) -> AsyncGenerator[bytes, None]:
        """Events from now on. Ends with UNAVAILABLE when the runtime goes down."""
        subscription = Subscription(self._rule, self._clock)
        if self._end is not None:
            raise self._end
        self._subscriptions.append(subscription)
        try:
            while True:
                yield await subscription.next()
        finally:
            self._subscriptions.remove(subscription)
            self.lost += subscription.lost

    def clock_stepped(self) -> None:
        """Times may go back from here on."""
        self._last_time = 0

    def reopen(self) -> None:
        """The runtime is up again: streams may be opened."""
        self._end = None

    def close(self) -> None:
        """End every stream, now and later, as a runtime that goes down does."""
        self._end = CriError(Code.UNAVAILABLE, "error reading from server: EOF")
        for subscription in self._subscriptions:
            subscription.end(self._end)
