"""One fake runtime: its parts put together, and the one place through which every call goes.

The gRPC server and the in-memory transport both dispatch here, so that faults, counts and answers are the same.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TypedDict

from google.protobuf.message import DecodeError, Message

from cri.clock import Clock
from cri.methods import METHODS, Method
from cri.transport import Code, CriError
from fake_cri.core import Core
from fake_cri.costs import CostModel
from fake_cri.events import Events
from fake_cri.exits import Exits
from fake_cri.faults import ArmedPlan, Call, FaultPlan, Locks, Proceed, ProceedStream
from fake_cri.faults.events import EVENT, Passing
from fake_cri.faults.incident import RUNTIME
from fake_cri.images import Catalogue
from fake_cri.journal import Change
from fake_cri.logs import Logs, NoLogs
from fake_cri.lookup import StateLookup, subject
from fake_cri.objects import Container, Sandbox, state_name
from fake_cri.outage import Outage
from fake_cri.profiles import Profile
from fake_cri.services import handlers, stream_handlers
from fake_cri.state import Moment, State

Journal = Callable[[Change], None]


class Snapshot(TypedDict):
    """The ground truth: by full id, the pod's uid and the state by CRI's name."""

    sandboxes: dict[str, tuple[str, str]]
    containers: dict[str, tuple[str, str]]


@dataclass(slots=True)
class Count:
    """Calls of one rpc, and the bytes of their requests and answers."""

    calls: int = 0
    errors: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class FakeRuntime:
    """A container runtime without containers. All chance comes from `seed`, all time from `clock`."""

    def __init__(
        self,
        profile: Profile,
        *,
        clock: Clock,
        seed: int | str = 1,
        journal: Journal | None = None,
        faults: Iterable[FaultPlan] = (),
        logs: Logs | None = None,
        clock_offset: int = 0,
        entry_bytes: int = 0,
    ) -> None:
        """`clock_offset` in ns sets its wall clock off; list entries are filled up to `entry_bytes`."""
        self.profile = profile
        self.clock = clock.shifted(clock_offset)
        self._true_clock = clock
        self.seed = seed
        self.changes = 0
        self.counts: dict[str, Count] = {}
        self._journal = journal
        self._fault_rng = self.rng("faults")
        self._faults: dict[str, list[ArmedPlan]] = {}
        self.locks = Locks(self.clock)
        self.state = State(
            profile,
            self.clock,
            ids=self.rng("ids"),
            order=self.rng("order"),
            observer=self._changed,
            entry_bytes=entry_bytes,
        )
        self._lookup = StateLookup(self.state)
        self.catalogue = Catalogue(profile.images)
        self.events = Events(profile, self.state, self.clock, self.rng("events"))
        self.events.deliver = self._deliver
        self._exits = Exits(self.state, self.clock)
        self.outage = Outage(self.state, self.events, self.clock)
        for plan in faults:
            self.arm(plan)
        core = Core(
            profile=profile,
            clock=self.clock,
            state=self.state,
            catalogue=self.catalogue,
            events=self.events,
            exits=self._exits,
            logs=logs if logs is not None else NoLogs(),
            chance=self.rng("processes"),
        )
        self._handlers = handlers(core)
        self._stream_handlers = stream_handlers(core)

    async def run(self) -> None:
        """Let clients' containers end by themselves (fake-cri/exit-after). Incidents need `outage.run`."""
        await self._exits.run()

    def rng(self, purpose: str) -> Random:
        """A source of chance of its own for each purpose, so that none disturbs another."""
        return Random(f"{self.seed}/{purpose}")

    def costs(self, seed: int | str) -> CostModel:
        """The profile's costs, drawn by `seed`."""
        return CostModel(self.profile.costs, Random(f"{seed}/costs"))

    def arm(self, plan: FaultPlan) -> ArmedPlan:
        """Put a fault into effect beside those that are; of two for one rpc the first stands outside."""
        armed = ArmedPlan(plan, now=self.clock.monotonic())
        if plan.rpc == RUNTIME:
            self.outage.arm(armed)
        self._faults.setdefault(plan.rpc, []).append(armed)
        return armed

    def disarm(self, armed: ArmedPlan) -> None:
        """Take it back; the calls that it holds go on."""
        self._faults[armed.plan.rpc].remove(armed)
        armed.release()

    def listed(self, method: Method) -> int:
        """How many objects the runtime goes through to answer that list; 0 for other calls."""
        if method.name in ("ListPodSandbox", "StreamPodSandboxes"):
            return len(self.state.sandboxes)
        if method.name in ("ListContainers", "StreamContainers"):
            return len(self.state.containers)
        return len(self.catalogue) if method.name in ("ListImages", "StreamImages") else 0

    async def unary(self, method: Method, request: bytes) -> bytes:
        """Serve one call. Raises CriError, and nothing else, when it does not end well."""
        count = self._count(method, request)
        call = Call(method, request, self.clock, self._fault_rng, self._lookup, self.locks)
        proceed: Proceed = partial(self._handle, method, request)
        for armed in reversed(self._faults.get(method.name, ())):
            proceed = partial(armed.unary, call, proceed)
        try:
            answer = await proceed()
        except CriError:
            count.errors += 1
            raise
        count.bytes_out += len(answer)
        return answer

    async def stream(self, method: Method, request: bytes) -> AsyncGenerator[bytes, None]:
        """Serve one server stream: its messages. Raises CriError where the stream ends with an error."""
        count = self._count(method, request)
        call = Call(method, request, self.clock, self._fault_rng, self._lookup, self.locks)
        proceed: ProceedStream = partial(self._handle_stream, method, request)
        for armed in reversed(self._faults.get(method.name, ())):
            proceed = partial(armed.stream, call, proceed)
        try:
            async with aclosing(proceed()) as messages:
                async for message in messages:
                    count.bytes_out += len(message)
                    yield message
        except CriError:
            count.errors += 1
            raise

    def snapshot(self) -> Snapshot:
        """What is true now."""
        return Snapshot(
            sandboxes={sandbox.id: (sandbox.uid, state_name(sandbox)) for sandbox in self.state.sandboxes},
            containers={
                container.id: (container.sandbox.uid, state_name(container)) for container in self.state.containers
            },
        )

    async def _handle(self, method: Method, request: bytes) -> bytes:
        handler = self._handlers.get(method.name)
        if handler is None:
            raise _unknown(method)
        return await handler(_parse(method, request))

    async def _handle_stream(self, method: Method, request: bytes) -> AsyncGenerator[bytes, None]:
        handler = self._stream_handlers.get(method.name)
        if handler is None:
            raise _unknown(method)
        async with aclosing(handler(_parse(method, request))) as messages:
            async for message in messages:
                yield message

    def _count(self, method: Method, request: bytes) -> Count:
        count = self.counts.setdefault(method.name, Count())
        count.calls += 1
        count.bytes_in += len(request)
        return count

    def _deliver(self, event: bytes, about: Sandbox | Container) -> Sequence[Passing]:
        passed = [Passing(event)]
        plans = self._faults.get(EVENT, ())
        if not plans:
            return passed
        method = METHODS["GetContainerEvents"]
        call = Call(method, b"", self.clock, self._fault_rng, self._lookup, self.locks, subject=subject(about))
        for armed in plans:
            passed = [
                replace(after, delay=before.delay + after.delay, ordered=before.ordered and after.ordered)
                for before in passed
                for after in armed.deliver(call, before.event)
            ]
        return passed

    def _changed(self, moment: Moment, subject: Sandbox | Container, change: Change) -> None:
        self.changes += 1
        if self._journal is not None:
            ahead = self.clock.ahead_of(self._true_clock)
            self._journal(replace(change, time_ns=change.time_ns - ahead))  # the truth has the client's time
        self.events.changed(moment, subject, change)


def _parse(method: Method, request: bytes) -> Message:
    try:
        return method.request.FromString(request)
    except DecodeError:
        text = "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data"
        raise CriError(Code.INTERNAL, text) from None


def _unknown(method: Method) -> CriError:
    return CriError(Code.UNIMPLEMENTED, f"unknown method {method.name} for service {method.service}")
