"""The event channel: bounded, first in first out, never blocks the writer, counts what it drops (k#72709)."""

from __future__ import annotations

import pytest

from pleg.channel import DEFAULT_CAPACITY, EventChannel
from pleg.hooks import Hooks
from pleg.pods import EventType, PodLifecycleEvent


def event(number: int) -> PodLifecycleEvent:
    return PodLifecycleEvent("u", EventType.CONTAINER_STARTED, str(number))


class _Counting(Hooks):
    def __init__(self) -> None:
        self.sent: list[str | None] = []
        self.discarded: list[str | None] = []

    def event_sent(self, event: PodLifecycleEvent) -> None:
        self.sent.append(event.data)

    def event_discarded(self, event: PodLifecycleEvent) -> None:
        self.discarded.append(event.data)


def test_its_capacity_is_the_kubelets() -> None:
    assert DEFAULT_CAPACITY == EventChannel().capacity == 1000


def test_first_in_first_out() -> None:
    channel = EventChannel(3)
    for number in range(3):
        assert channel.send(event(number))
    assert [channel.receive(), channel.receive(), channel.receive()] == [event(0), event(1), event(2)]
    assert channel.receive() is None


def test_a_full_channel_drops_the_new_event_and_keeps_the_old_ones() -> None:
    hooks = _Counting()
    channel = EventChannel(2, hooks)
    assert [channel.send(event(number)) for number in range(5)] == [True, True, False, False, False]
    assert (channel.full, len(channel)) == (True, 2)
    assert channel.discarded == 3
    assert hooks.sent == ["0", "1"]
    assert hooks.discarded == ["2", "3", "4"]
    assert channel.receive() == event(0)
    assert channel.send(event(5)), "a place was free again"
    assert [channel.receive(), channel.receive(), channel.receive()] == [event(1), event(5), None]


def test_it_tells_its_reader_of_each_event_that_went_in() -> None:
    channel = EventChannel(1)
    told: list[int] = []
    channel.on_send = lambda: told.append(len(channel))
    channel.send(event(0))
    channel.send(event(1))
    assert told == [1]


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_channel_without_room_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="room for at least one event"):
        EventChannel(capacity)
