"""The event stream itself: its buffer, and how it is closed for a while before its process is stopped."""

from __future__ import annotations

import anyio
import pytest

from cri.clock import MILLISECOND, SECOND, seconds
from cri.transport import Code, CriError
from pleg.generators.event_stream import EventStream, StreamSettings
from pleg.pods import ContainerEvent, PodStatus
from tests.pleg.support import Bench, virtual


class Listener:
    """An event stream over a bench, and what came out of it."""

    def __init__(self, settings: StreamSettings | None = None) -> None:
        self.bench = Bench()
        self.bench.runtime.sandbox("s1", "1234")
        self.stream = EventStream(self.bench.client, self.bench.hooks, settings or StreamSettings())
        self.processed: list[str] = []
        self.ends: list[str] = []
        self.returned = False

    async def run(self) -> None:
        await self.stream.run(self._process, self._ended)
        self.returned = True

    def push(self, *ids: str) -> None:
        self.bench.runtime.streams[-1].push(*(self.bench.runtime.event("stopped", id_, "s1") for id_ in ids))

    def opened(self) -> list[int]:
        """At which ms an attempt was made."""
        return [call.at // MILLISECOND for call in self.bench.runtime.calls]

    def _process(self, event: ContainerEvent, status: PodStatus) -> None:
        assert status is event.status
        self.processed.append(event.container_id)

    async def _ended(self, error: Exception) -> None:
        self.ends.append(str(error))


def test_its_numbers_are_the_kubelets() -> None:
    settings = StreamSettings()
    assert (settings.retries, settings.backoff, settings.buffer, settings.drop_when_full) == (5, (0, 0), 1000, False)


@virtual
async def test_events_come_out_in_order_and_it_returns_when_its_attempts_are_used_up() -> None:
    listener = Listener(StreamSettings(retries=2))
    async with listener.bench.running(listener.run):
        await listener.bench.until(SECOND)
        listener.push("a", "b")
        listener.bench.runtime.streams[-1].end()
        await listener.bench.until(2 * SECOND)
        listener.push("c")
        listener.bench.runtime.streams[-1].end(CriError(Code.UNAVAILABLE, "down"))
        await listener.bench.until(3 * SECOND)
        returned = listener.returned
    assert returned
    assert listener.processed == ["a", "b", "c"]
    assert listener.ends == ["EOF", "rpc error: code = Unavailable desc = down"]
    assert listener.bench.hooks.count("container_event_received") == 3
    assert listener.bench.hooks.logs("E") == [
        "container events stream is closed",
        "failed to receive streaming container event",
    ], "the words of k8s.io/cri-client"


@virtual
async def test_no_attempts_at_all_is_an_end_at_once() -> None:
    listener = Listener(StreamSettings(retries=0))
    await listener.run()
    assert listener.opened() == []


@virtual
async def test_a_dial_that_fails_is_an_end_but_no_success() -> None:
    listener = Listener(StreamSettings(retries=1))
    listener.bench.runtime.fail("GetContainerEvents", Code.UNAVAILABLE, "no socket")
    await listener.run()
    assert listener.bench.hooks.count("stream_connected") == 0
    assert listener.bench.hooks.count("stream_ended") == 1
    assert listener.bench.hooks.logs("E") == ["GetContainerEvents failed to get streaming client"]


# --- the buffer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drops", [True, False])
@virtual
async def test_a_buffer_with_room_loses_nothing(drops: bool) -> None:
    listener = Listener(StreamSettings(drop_when_full=drops))
    async with listener.bench.running(listener.run):
        await listener.bench.until(SECOND)
        listener.push(*(str(number) for number in range(500)))
        await listener.bench.until(2 * SECOND)
    assert listener.processed == [str(number) for number in range(500)]
    assert listener.bench.hooks.count("container_event_overflowed") == 0


# --- closed for a while --------------------------------------------------------------------------------------


@virtual
async def test_suspended_it_is_closed_without_counting_and_resumed_it_is_opened_again() -> None:
    listener = Listener()
    async with listener.bench.running(listener.run):
        await listener.bench.until(SECOND)
        await listener.stream.suspend()
        assert listener.bench.hooks.of("call_ended") != [], "the call is over when suspend returns"
        await listener.bench.until(100 * SECOND)
        assert listener.opened() == [0]
        listener.stream.resume()
        await listener.bench.until(101 * SECOND)
        listener.push("a")
        await listener.bench.until(102 * SECOND)
    assert listener.opened() == [0, 100_000]
    assert listener.processed == ["a"]
    assert (listener.stream.attempts, listener.ends) == (0, [])
    assert listener.bench.hooks.of("stream_ended") == []


@virtual
async def test_suspended_twice_and_resumed_once_it_is_open() -> None:
    listener = Listener()
    async with listener.bench.running(listener.run):
        await listener.bench.until(SECOND)
        await listener.stream.suspend()
        await listener.stream.suspend()
        listener.stream.resume()
        await listener.bench.until(2 * SECOND)
    assert listener.opened() == [0, 1000]


@virtual
async def test_suspended_while_it_pauses_between_attempts_it_makes_none_until_resumed() -> None:
    listener = Listener(StreamSettings(retries=None, backoff=(10 * SECOND, 10 * SECOND)))
    listener.bench.runtime.fail("GetContainerEvents", Code.UNAVAILABLE)
    async with listener.bench.running(listener.run):
        await listener.bench.until(SECOND)
        with anyio.fail_after(seconds(SECOND)):
            await listener.stream.suspend()
        await listener.bench.until(60 * SECOND)
        assert listener.opened() == [0]
        listener.stream.resume()
        await listener.bench.until(61 * SECOND)
    assert listener.opened() == [0, 60_000]


@virtual
async def test_suspended_and_resumed_before_it_was_ever_run() -> None:
    listener = Listener()
    await listener.stream.suspend()
    async with listener.bench.running(listener.run):
        await listener.bench.until(SECOND)
        assert listener.opened() == []
        listener.stream.resume()
        await listener.bench.until(2 * SECOND)
    assert listener.opened() == [1000]


@virtual
async def test_suspended_after_its_last_attempt_is_nothing() -> None:
    listener = Listener(StreamSettings(retries=1))
    listener.bench.runtime.on_stream = lambda stream: stream.end()
    await listener.run()
    with anyio.fail_after(seconds(SECOND)):
        await listener.stream.suspend()
    listener.stream.resume()
