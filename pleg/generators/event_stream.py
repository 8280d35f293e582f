"""The runtime's event stream as kubelets follow it: a buffer of its own, and attempts that run out.

Shared by evented (1.26-1.36) and hinted (1.37). Every end of the stream counts as a failed attempt, a clean end too;
attempts are never reset and there is no delay between them, unless asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from cri.clock import seconds
from pleg.hooks import Hooks
from pleg.pods import ContainerEvent, PodStatus
from pleg.runtime.client import RuntimeClient
from pleg.runtime.convert import RUNTIME_ERRORS

_SOURCE: Final = "remote_runtime.go"


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How stubbornly to follow the stream."""

    #: Attempts in the life of the process (eventedPlegMaxStreamRetries); None for no limit.
    retries: int | None = 5
    #: First and longest pause between attempts, ns; doubles from one to the other. The kubelet has none.
    backoff: tuple[int, int] = (0, 0)
    #: Events between the receiver and the processor (the kubelet's is as large as the event channel).
    buffer: int = 1000
    #: What happens when the buffer is full: drop and count, or stop receiving, as the kubelet does.
    drop_when_full: bool = False


class StreamClosed(Exception):
    """The runtime ended the stream without an error; Go's client reports io.EOF."""

    def __str__(self) -> str:
        return "EOF"


class EventStream:
    """Receives events until the attempts are used up."""

    def __init__(self, client: RuntimeClient, hooks: Hooks, settings: StreamSettings) -> None:
        self.settings = settings
        #: Failed attempts so far.
        self.attempts = 0
        self._client = client
        self._hooks = hooks
        self._scope: anyio.CancelScope | None = None
        self._suspended: anyio.Event | None = None
        self._resumed = anyio.Event()

    async def run(
        self,
        process: Callable[[ContainerEvent, PodStatus], None],
        ended: Callable[[Exception], Awaitable[None]],
        reconnected: Callable[[], None] | None = None,
    ) -> None:
        """Hand each event and the status in it to `process`, through a buffer, until the attempts are used up.

        `ended` is awaited after each end of the stream, `reconnected` is called whenever it is up again after a pause.
        """
        send, receive = anyio.create_memory_object_stream[ContainerEvent](self.settings.buffer)
        async with receive, anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow, send, ended, reconnected)
            async for event in receive:
                if event.status is None:
                    self._drop(event)
                else:
                    process(event, event.status)

    async def _follow(
        self,
        send: MemoryObjectSendStream[ContainerEvent],
        ended: Callable[[Exception], Awaitable[None]],
        reconnected: Callable[[], None] | None,
    ) -> None:
        delay = self.settings.backoff[0]
        with send:
            while self.settings.retries is None or self.attempts < self.settings.retries:
                begun = anyio.current_time()
                error, received = await self._attempt(send, reconnected)
                lived = anyio.current_time() - begun
                if error is None:
                    await self._wait_for_resume()
                    continue
                self._hooks.stream_ended(error)
                self.attempts += 1
                await ended(error)
                if received or lived > seconds(delay):
                    delay = self.settings.backoff[0]
                if delay:
                    await anyio.sleep(seconds(delay))
                    delay = min(2 * delay, self.settings.backoff[1])

    def _drop(self, event: ContainerEvent) -> None:
        """Upstream does not look at an event without the status of its sandbox (k#114371)."""
        self._hooks.log(
            "E",
            "evented.go",
            "Evented PLEG: received ContainerEventResponse with nil PodSandboxStatus or PodSandboxStatus.Metadata",
            containerEventResponse={"container_id": event.container_id, "container_event_type": str(event.type)},
        )

    async def suspend(self) -> None:
        """Close the stream, without counting it as a failure, until `resume`. Returns once it is closed."""
        if self._suspended is None:
            self._suspended = anyio.Event()
            self._resumed = anyio.Event()
            if self._scope is None:
                return
            self._scope.cancel()
        await self._suspended.wait()

    def resume(self) -> None:
        """Open the stream again."""
        self._suspended = None
        self._resumed.set()

    async def _wait_for_resume(self) -> None:
        if self._suspended is not None:
            self._suspended.set()
            await self._resumed.wait()

    async def _attempt(
        self, send: MemoryObjectSendStream[ContainerEvent], reconnected: Callable[[], None] | None
    ) -> tuple[Exception | None, bool]:
        """One attempt: how it ended (None: suspended), and whether anything was received."""
        if self._suspended is not None:
            return None, False
        connected = received = False
        error: Exception | None = None
        with anyio.CancelScope() as self._scope:
            try:
                async with self._client.container_events() as events:
                    connected = True
                    self._hooks.stream_connected()
                    if self.attempts and self.settings.backoff[0] and reconnected is not None:
                        reconnected()
                    async for event in events:
                        received = True
                        self._hooks.container_event_received(event)
                        await self._put(send, event)
                error = StreamClosed()
                self._hooks.log("E", _SOURCE, "container events stream is closed", err=error)
            except RUNTIME_ERRORS as caught:
                error = caught
                what = (
                    "failed to receive streaming container event"
                    if connected
                    else "GetContainerEvents failed to get streaming client"
                )
                self._hooks.log("E", _SOURCE, what, err=error)
        self._scope = None
        return error, received

    async def _put(self, send: MemoryObjectSendStream[ContainerEvent], event: ContainerEvent) -> None:
        if not self.settings.drop_when_full:
            await send.send(event)
            return
        try:
            send.send_nowait(event)
        except anyio.WouldBlock:
            self._hooks.container_event_overflowed()
