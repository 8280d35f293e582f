"""Calls under way: which of them a node is waiting for."""

from __future__ import annotations

import threading

from cri.clock import SECOND
from pleg.observe.in_flight import InFlight
from pleg.observe.snapshot import snapshot
from pleg.pods import Call


def end(in_flight: InFlight, call: Call) -> None:
    in_flight.call_ended(call, 0, None, 0, 0, 0)


def test_a_call_blocks_from_one_second_on() -> None:
    in_flight = InFlight()
    call = Call("ListContainers", "pleg", since=10 * SECOND)
    in_flight.call_started(call)
    assert in_flight.blocking(11 * SECOND - 1) == []
    assert in_flight.blocking(11 * SECOND) == [call]
    end(in_flight, call)
    assert in_flight.blocking(20 * SECOND) == []


def test_the_oldest_comes_first_and_the_event_stream_never() -> None:
    in_flight = InFlight()
    younger, older = Call("Status", "status", 2 * SECOND), Call("ListContainers", "pleg", SECOND)
    stream = Call("GetContainerEvents", "event stream", 0)
    for call in (younger, stream, older):
        in_flight.call_started(call)
    assert in_flight.blocking(60 * SECOND) == [older, younger]
    assert in_flight.calls() == [stream, older, younger]


def test_equal_calls_are_told_apart() -> None:
    in_flight = InFlight()
    first, second = Call("ListContainers", "pleg", 0), Call("ListContainers", "pleg", 0)
    in_flight.call_started(first)
    in_flight.call_started(second)
    end(in_flight, first)
    assert len(in_flight.blocking(SECOND)) == 1


def test_reading_while_another_thread_writes() -> None:
    numbers: dict[int, int] = {}
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            numbers.update((number, number) for number in range(100))
            numbers.clear()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            assert all(key == value for key, value in snapshot(numbers.items))
    finally:
        done.set()
        thread.join()


def test_a_copy_that_keeps_failing_says_why() -> None:
    attempts = []

    def read() -> list[int]:
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("changed size during iteration")
        return [1]

    assert snapshot(read) == [1]
