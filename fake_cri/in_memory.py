"""The fake runtime as a Transport without a network, for virtual time: the same bytes, the same errors, seeded costs.

Each call takes the time that the profile says, part of it before the runtime acts and the rest after it; each event
arrives after its delay, in order. anyio alone: it runs on asyncio and trio.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from cri.clock import MICROSECOND, Clock, seconds
from cri.methods import Method
from cri.transport import MAX_MESSAGE_BYTES, Code, CriError
from fake_cri.runtime import FakeRuntime

#: Messages of a stream on their way; about what gRPC takes for a consumer that does not read.
_IN_FLIGHT: Final = 1500

#: What it takes to find out whether there is a connection.
_LEAST_DIAL: Final = 20 * MICROSECOND
_MOST_DIAL: Final = 100 * MICROSECOND

_DIAL: Final = 'connection error: desc = "transport: Error while dialing: dial unix: connect: '
_NO_FILE: Final = "no such file or directory"


class InMemoryTransport:
    """A client's connection to a FakeRuntime in the same process."""

    def __init__(
        self, runtime: FakeRuntime, *, seed: int | str = 1, max_receive_bytes: int = MAX_MESSAGE_BYTES
    ) -> None:
        self._runtime = runtime
        self._clock = runtime.clock
        self._costs = runtime.costs(seed)
        self._rng = Random(f"{seed}/travel")
        self._limit = max_receive_bytes
        self._refusal: CriError | None = None
        self._open: set[_Attempt] = set()
        runtime.outage.add(self)
        if runtime.outage.is_down:
            self.disconnect()

    @property
    def connected(self) -> bool:
        return self._refusal is None

    async def down(self, *, socket: bool) -> None:
        self.disconnect(socket=socket)

    async def up(self) -> None:
        self.reconnect()

    def disconnect(self, *, socket: bool = True) -> None:
        """The runtime goes down: calls and streams under way end with UNAVAILABLE, new ones are refused."""
        self._refusal = CriError(Code.UNAVAILABLE, _DIAL + ("connection refused" if socket else _NO_FILE) + '"')
        self._interrupt(CriError(Code.UNAVAILABLE, "error reading from server: EOF"))

    def reconnect(self) -> None:
        """The runtime is back."""
        self._refusal = None

    async def aclose(self) -> None:
        """Calls under way end with CANCELLED, and so does every later one."""
        self._runtime.outage.remove(self)
        closing = CriError(Code.CANCELLED, "grpc: the client connection is closing")
        self._refusal = closing
        self._interrupt(closing)

    def _interrupt(self, error: CriError) -> None:
        for attempt in list(self._open):
            if attempt.error is None:
                attempt.error, attempt.cut_at = error, self._clock.monotonic()
            attempt.scope.cancel()

    async def unary(self, method: Method, request: bytes, *, timeout_ns: int | None) -> bytes:
        """Call and return the serialized answer; see `cri.transport.Transport`."""
        attempt = await self._dial(timeout_ns)
        try:
            with attempt.scope:
                before, after = self._cost(method)
                await anyio.sleep(seconds(before))
                if len(request) > MAX_MESSAGE_BYTES:
                    raise _too_large(len(request), MAX_MESSAGE_BYTES)
                answer = await self._runtime.unary(method, request)
                await anyio.sleep(seconds(after))
                if len(answer) > self._limit:
                    raise _too_large(len(answer), self._limit)
                return answer
        finally:
            self._open.discard(attempt)
        raise attempt.failure()

    @asynccontextmanager
    async def stream(
        self, method: Method, request: bytes, *, timeout_ns: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a server stream; see `cri.transport.Transport`."""
        attempt = await self._dial(timeout_ns)
        send, receive = anyio.create_memory_object_stream[_Arrival](_IN_FLIGHT)
        problem: Exception | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._pump, attempt, method, request, send)
                try:
                    yield _Arrivals(receive, attempt, self._clock)
                except Exception as error:  # raised again below: the task group would wrap it
                    problem = error
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            receive.close()
            self._open.discard(attempt)
        if problem is not None:
            raise problem

    async def _pump(
        self, attempt: _Attempt, method: Method, request: bytes, send: MemoryObjectSendStream[_Arrival]
    ) -> None:
        """From the runtime onto the way to the client. Without an end on the way the attempt's failure is the end."""
        with send, attempt.scope:
            before, after = self._cost(method)
            await anyio.sleep(seconds(before))
            due, end = 0, None
            try:
                async with aclosing(self._runtime.stream(method, request)) as messages:
                    async for message in messages:
                        if len(message) > self._limit:
                            raise _too_large(len(message), self._limit)
                        delay = self._costs.event() if method.name == "GetContainerEvents" else after
                        due = max(due, self._clock.monotonic() + delay)
                        await send.send(_Arrival(due, message))
            except CriError as error:
                end = error
            await send.send(_Arrival(max(due, self._clock.monotonic() + after), end))

    async def _dial(self, timeout_ns: int | None) -> _Attempt:
        await anyio.sleep(seconds(self._rng.randint(_LEAST_DIAL, _MOST_DIAL)))
        if self._refusal is not None:
            raise self._refusal
        attempt = _Attempt(timeout_ns)
        self._open.add(attempt)
        return attempt

    def _cost(self, method: Method) -> tuple[int, int]:
        """What passes before the runtime acts, and after it, in ns."""
        cost = self._costs.call(method.name, self._runtime.listed(method))
        before = max(1, round(cost * self._rng.uniform(0.3, 0.7)))
        return before, max(1, cost - before)


class _Attempt:
    """One call under way: its deadline, and what ended it from outside."""

    def __init__(self, timeout_ns: int | None) -> None:
        deadline = anyio.current_time() + seconds(timeout_ns) if timeout_ns is not None else math.inf
        self.scope = anyio.CancelScope(deadline=deadline)
        self.error: CriError | None = None
        self.cut_at = 0

    def failure(self) -> CriError:
        """Why it was cancelled."""
        return self.error or CriError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A message, a clean end (None) or a failure, and the monotonic ns at which it arrives."""

    due: int
    what: bytes | CriError | None


class _Arrivals:
    """What a stream's client iterates over. A cancelled wait loses nothing."""

    def __init__(self, receive: MemoryObjectReceiveStream[_Arrival], attempt: _Attempt, clock: Clock) -> None:
        self._receive = receive
        self._attempt = attempt
        self._clock = clock
        self._next: _Arrival | None = None
        self._ended = False

    def __aiter__(self) -> _Arrivals:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        if self._next is None:
            try:
                self._next = await self._receive.receive()
            except anyio.EndOfStream:
                self._ended = True
                raise self._attempt.failure() from None
        await anyio.sleep(seconds(max(0, self._next.due - self._clock.monotonic())))
        arrival, self._next = self._next, None
        if self._attempt.error is not None and arrival.due > self._attempt.cut_at:
            self._ended = True
            raise self._attempt.error  # it was still on its way when the connection broke
        if isinstance(arrival.what, bytes):
            return arrival.what
        self._ended = True
        if arrival.what is None:
            raise StopAsyncIteration
        raise arrival.what


def _too_large(size: int, limit: int) -> CriError:
    return CriError(Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {limit})")
