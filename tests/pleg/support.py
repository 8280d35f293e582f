"""What these tests share: virtual time, hooks that remember, and the parts of a node wired over a scripted runtime."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final, ParamSpec

import anyio
import trio
import trio.testing
from anyio.abc import TaskGroup

from cri.clock import SECOND, VIRTUAL_EPOCH, Clock, seconds
from cri.virtual_time import run_virtual, virtual_clock
from pleg.cache import PodCache
from pleg.channel import EventChannel
from pleg.generators.event_stream import EventStream, StreamSettings
from pleg.generators.evented import EventedPleg
from pleg.generators.generic import EventedGate, GenericPleg, RelistSettings
from pleg.generators.hinted import HintWatcher
from pleg.hooks import Hooks
from pleg.kubelet import Kubelet, Settings
from pleg.pods import EventType, PodLifecycleEvent, PodStatus
from pleg.runtime.client import DEFAULT_TIMEOUT, RuntimeClient, StreamLists
from tests.pleg.scripted_runtime import ScriptedRuntime

P = ParamSpec("P")

STARTED: Final = EventType.CONTAINER_STARTED
DIED: Final = EventType.CONTAINER_DIED
REMOVED: Final = EventType.CONTAINER_REMOVED
POD_SYNC: Final = EventType.POD_SYNC


def virtual(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an async test in virtual time, in a loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(functools.partial(test, *args, **kwargs))

    return run


def run_in_trio(test: Callable[..., Awaitable[None]], *args: object) -> None:
    """Run an async test in trio's own virtual time, where tasks that are ready run in a shuffled order."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(test, *args, backend="trio", backend_options={"clock": clock})


def current_clock() -> Clock:
    """The clock of the virtual time that runs, asyncio's or trio's."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return Clock(lambda: round(trio.current_time() * SECOND), wall_base=VIRTUAL_EPOCH)
    return virtual_clock()


class Recording(Hooks):
    """Remembers what it was told, in order, and when (monotonic ns)."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.seen: list[tuple[int, str, tuple[Any, ...], dict[str, Any]]] = []

    def of(self, name: str) -> list[Any]:
        """The arguments of each call of one hook: as they are when it is one, else as a tuple."""
        return [args[0] if len(args) == 1 else args for _, called, args, _ in self.seen if called == name]

    def count(self, name: str) -> int:
        return len(self.of(name))

    def times(self, name: str) -> list[int]:
        return [at for at, called, _, _ in self.seen if called == name]

    def logs(self, severity: str = "") -> list[str]:
        """Messages of log lines."""
        return [message for severe, _, message in self.of("log") if severe.startswith(severity)]

    def logged(self, message: str) -> list[tuple[int, dict[str, Any]]]:
        """When a log line was written, and its keys and values, `v` and `severity` among them."""
        return [
            (at, {"v": 0, "severity": args[0]} | kwargs)
            for at, called, args, kwargs in self.seen
            if called == "log" and args[2] == message
        ]

    def clear(self) -> None:
        self.seen.clear()


def _remember(name: str) -> Callable[..., None]:
    def remember(self: Recording, *args: Any, **kwargs: Any) -> None:
        self.seen.append((self.clock.monotonic(), name, args, kwargs))

    return remember


for _name, _method in vars(Hooks).items():
    if not _name.startswith("_") and callable(_method):
        setattr(Recording, _name, _remember(_name))


class Bench:
    """A generic PLEG over a scripted runtime, and what it writes to. Make it in virtual time."""

    def __init__(
        self,
        *,
        capacity: int = 100,
        refuse_older: bool = False,
        gate: EventedGate | None = None,
        statuses_from_sandbox: bool = False,
        stream_lists: StreamLists = "off",
        settings: RelistSettings | None = None,
        queue_capacity: int = 200,
        timeout: int = DEFAULT_TIMEOUT,
        seed: int = 1,
    ) -> None:
        self.clock = current_clock()
        self.runtime = ScriptedRuntime(self.clock)
        self.hooks = Recording(self.clock)
        self.cache = PodCache(refuse_older=refuse_older)
        self.channel = EventChannel(capacity, self.hooks)
        self.client = RuntimeClient(
            self.runtime,
            self.clock,
            self.hooks,
            caller="pleg",
            timeout=timeout,
            stream_lists=stream_lists,
            statuses_from_sandbox=statuses_from_sandbox,
        )
        self.generic = GenericPleg(
            self.client,
            self.cache,
            self.channel,
            self.clock,
            self.hooks,
            random.Random(seed),
            settings=settings,
            queue_capacity=queue_capacity,
            gate=gate,
        )

    def events(self) -> list[PodLifecycleEvent]:
        """Take all events out of the channel."""
        return list(self._drain())

    def _drain(self) -> Iterator[PodLifecycleEvent]:
        while (event := self.channel.receive()) is not None:
            yield event

    def sorted_events(self) -> list[tuple[str, str, str]]:
        """The events as (uid, id, type), sorted by pod and id, as upstream's tests compare them."""
        found = [(event.uid, event.data or "", str(event.type)) for event in self.events()]
        return sorted(found, key=lambda event: event[:2])

    async def relist(self) -> list[tuple[str, str, str]]:
        """One relist, and its events as `sorted_events` has them."""
        await self.generic.relist()
        return self.sorted_events()

    def status(self, uid: str) -> PodStatus:
        """The cached status, which must be there and without error."""
        status, error = self.cache.get(uid)
        assert error is None
        assert status is not None
        return status

    async def until(self, monotonic: int) -> None:
        """Sleep until this time of the loop's, ns."""
        await anyio.sleep(seconds(monotonic - self.clock.monotonic()))

    @asynccontextmanager
    async def running(self, *runs: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[TaskGroup]:
        """Run generators (generic if none is named) in the background."""
        async with running(*(runs or (self.generic.run,))) as tasks:
            yield tasks


class EventedBench(Bench):
    """An evented PLEG (1.26-1.36) beside a generic one, as the kubelet wires them behind the gate."""

    def __init__(
        self,
        *,
        stream: StreamSettings | None = None,
        settings: RelistSettings | None = None,
        fallback: RelistSettings | None = None,
        capacity: int = 100,
    ) -> None:
        slow = RelistSettings(period=300 * 10**9, threshold=600 * 10**9)
        super().__init__(
            capacity=capacity,
            refuse_older=True,
            gate=EventedGate(in_use=lambda: self.evented.in_use),
            statuses_from_sandbox=True,
            settings=settings or slow,
        )
        self.stream = EventStream(self.client.on_behalf_of("event stream"), self.hooks, stream or StreamSettings())
        self.evented = EventedPleg(
            self.generic, self.stream, self.cache, self.channel, self.clock, self.hooks, fallback=fallback
        )


class HintedBench(Bench):
    """The hinted PLEG (1.37), as the kubelet wires it behind the gate."""

    def __init__(self, *, stream: StreamSettings | None = None, queue_capacity: int = 200) -> None:
        super().__init__(
            refuse_older=True,
            gate=EventedGate(ignore_refused_write=True),
            statuses_from_sandbox=True,
            queue_capacity=queue_capacity,
        )
        self.stream = EventStream(self.client.on_behalf_of("event stream"), self.hooks, stream or StreamSettings())
        self.hinted = HintWatcher(self.generic, self.stream, self.clock, self.hooks)


class NodeBench:
    """A whole node over a scripted runtime."""

    def __init__(self, settings: Settings | None = None, *, seed: int = 1) -> None:
        self.clock = current_clock()
        self.runtime = ScriptedRuntime(self.clock)
        self.hooks = Recording(self.clock)
        self.node = Kubelet(self.runtime, self.clock, settings=settings, seed=seed, hooks=[self.hooks])

    async def until(self, monotonic: int) -> None:
        await anyio.sleep(seconds(monotonic - self.clock.monotonic()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with running(self.node.run):
            yield

    def skips(self) -> list[tuple[int, str]]:
        """When the sync loop said that it skips, and why."""
        return [(at, str(values["err"])) for at, values in self.hooks.logged("Skipping pod synchronization")]

    def conditions(self) -> list[tuple[int, str, str]]:
        """When the node's Ready condition was computed: status and message."""
        found = []
        for at, hook, args, _ in self.hooks.seen:
            if hook == "node_condition":
                assert args[0] == "Ready"
                found.append((at, str(args[1]), str(args[3])))
        return found


@asynccontextmanager
async def running(*runs: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[TaskGroup]:
    """Run these in the background, and end them on leaving."""
    try:
        async with anyio.create_task_group() as tasks:
            for run in runs:
                tasks.start_soon(run)
            yield tasks
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:  # show a failed assertion as it is
            raise group.exceptions[0] from None
        raise
