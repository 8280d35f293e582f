"""A runtime that does as a test says: it answers CRI calls in virtual time from entries that the test sets.

Not a fake of any real runtime: no state machine, no events of its own, nothing happens unless the test does it. Every
answer takes time (1 ms unless said otherwise), for on a real node no two things happen at the same instant.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeVar

import anyio
from google.protobuf.message import Message

from cri.clock import MILLISECOND, VIRTUAL_EPOCH, Clock, seconds
from cri.methods import Method
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as cri

T = TypeVar("T")

POD_UID: Final = "io.kubernetes.pod.uid"
STATES: Final = {"created": 0, "running": 1, "exited": 2, "unknown": 3}


@dataclass(slots=True)
class Call:
    """One call as it reached the runtime. `id` is that of the object asked for, `at` is monotonic ns."""

    rpc: str
    id: str
    request: Any
    at: int
    timeout_ns: int | None

    @property
    def uid(self) -> str:
        """The pod that a list was filtered by."""
        return str(self.request.filter.label_selector.get(POD_UID, ""))


@dataclass(slots=True)
class Fault:
    """What goes wrong with calls of one rpc, or of one rpc for one id."""

    error: CriError | None = None
    answer: bytes | None = None
    hang: anyio.Event | None = None
    times: int | None = None


@dataclass(slots=True)
class Streamed:
    """One open GetContainerEvents: what waits to be sent, and how it ends (None: cleanly)."""

    waiting: list[bytes] = field(default_factory=list)
    ended: bool = False
    error: CriError | None = None
    changed: anyio.Event = field(default_factory=anyio.Event)

    def push(self, *messages: bytes) -> None:
        self.waiting.extend(messages)
        self.changed.set()

    def end(self, error: CriError | None = None) -> None:
        self.ended, self.error = True, error
        self.changed.set()


class ScriptedRuntime:
    """A `cri.transport.Transport`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.sandboxes: dict[str, cri.PodSandbox] = {}
        self.containers: dict[str, cri.Container] = {}
        #: What a status call answers; made along with the list entry, to be changed by the test.
        self.sandbox_statuses: dict[str, cri.PodSandboxStatusResponse] = {}
        self.container_statuses: dict[str, cri.ContainerStatusResponse] = {}
        self.status = cri.StatusResponse()
        for condition in ("RuntimeReady", "NetworkReady"):
            self.status.status.conditions.add(type=condition, status=True)
        self.calls: list[Call] = []
        #: ns that each rpc takes, by name.
        self.delays: dict[str, int] = {}
        self.faults: dict[str, Fault] = {}
        self.streams: list[Streamed] = []
        #: Called with each event stream once its client exists, before anything is answered.
        self.on_stream: Callable[[Streamed], None] = lambda stream: None
        #: Items per message of the Stream* lists; 0: they are not implemented.
        self.chunk = 0
        #: Puts items of a list answer in order.
        self.order: Callable[[list[Any]], list[Any]] = list

    # --- what is there ---------------------------------------------------------------------------------------

    def sandbox(self, id_: str, uid: str, state: str = "ready", *, ip: str = "", attempt: int = 0, age: int = 0) -> str:
        """Set a sandbox and its status; `age` is ns before the epoch. Returns its id."""
        metadata = cri.PodSandboxMetadata(name=f"pod-{uid}", namespace="default", uid=uid, attempt=attempt)
        wire = {"ready": 0, "notready": 1}.get(state, 7)
        common: dict[str, Any] = {"id": id_, "metadata": metadata, "state": wire, "created_at": VIRTUAL_EPOCH - age}
        labels = {POD_UID: uid}
        self.sandboxes[id_] = cri.PodSandbox(**common, labels=labels)
        status = cri.PodSandboxStatus(**common, labels=labels)
        if ip:
            status.network.ip = ip
        self.sandbox_statuses[id_] = cri.PodSandboxStatusResponse(status=status)
        return id_

    def container(
        self,
        id_: str,
        uid: str,
        state: str = "running",
        *,
        sandbox: str = "",
        age: int = 0,
        exit_code: int = 0,
        attempt: int = 0,
    ) -> str:
        """Set a container and its status. Returns its id."""
        labels = {
            POD_UID: uid,
            "io.kubernetes.pod.name": f"pod-{uid}",
            "io.kubernetes.pod.namespace": "default",
            "io.kubernetes.container.name": f"name-{id_}",
        }
        common: dict[str, Any] = {
            "id": id_,
            "metadata": cri.ContainerMetadata(name=f"name-{id_}", attempt=attempt),
            "image": cri.ImageSpec(image="busybox"),
            "image_ref": "sha256:1",
            "state": STATES[state],
            "created_at": VIRTUAL_EPOCH - age,
            "labels": labels,
        }
        self.containers[id_] = cri.Container(**common, pod_sandbox_id=sandbox or f"sandbox-{uid}")
        status = cri.ContainerStatus(**common, exit_code=exit_code)
        if state in ("running", "exited"):
            status.started_at = VIRTUAL_EPOCH
        if state == "exited":
            status.finished_at = VIRTUAL_EPOCH
        self.container_statuses[id_] = cri.ContainerStatusResponse(status=status)
        return id_

    def remove(self, *ids: str) -> None:
        """Take sandboxes and containers away."""
        for id_ in ids:
            for kept in (self.sandboxes, self.containers, self.sandbox_statuses, self.container_statuses):
                kept.pop(id_, None)

    def event(self, kind: str, id_: str, sandbox: str, *, created_at: int | None = None) -> bytes:
        """An event of the runtime with the statuses as they are now."""
        response = cri.ContainerEventResponse(
            container_id=id_,
            container_event_type=cri.ContainerEventType.Value(f"CONTAINER_{kind.upper()}_EVENT"),
            created_at=self.clock.now() if created_at is None else created_at,
        )
        if sandbox in self.sandbox_statuses:
            response.pod_sandbox_status.CopyFrom(self.sandbox_statuses[sandbox].status)
            uid = response.pod_sandbox_status.metadata.uid
            for id2, container in self.containers.items():
                if container.labels.get(POD_UID) == uid:
                    response.containers_statuses.add().CopyFrom(self.container_statuses[id2].status)
        return response.SerializeToString()

    # --- what goes wrong -------------------------------------------------------------------------------------

    def fail(self, where: str, code: Code = Code.UNKNOWN, message: str = "broken", times: int | None = None) -> None:
        """Let calls of an rpc fail, `times` times or for ever.

        Or those for one id (``ContainerStatus/c1``), for one pod (``ListContainers/uid``), for all of them
        (``ListContainers/all``).
        """
        self.faults[where] = Fault(error=CriError(code, message), times=times)

    def answer(self, where: str, answer: bytes | Message, times: int | None = None) -> None:
        """Let calls answer these very bytes."""
        data = answer if isinstance(answer, bytes) else answer.SerializeToString()
        self.faults[where] = Fault(answer=data, times=times)

    def hang(self, where: str) -> None:
        """Let calls hang, until their deadline or until `heal`."""
        self.faults[where] = Fault(hang=anyio.Event())

    def heal(self, where: str | None = None) -> None:
        """End the fault of this name, or all; hung calls go on."""
        for name in [where] if where is not None else list(self.faults):
            fault = self.faults.pop(name)
            if fault.hang is not None:
                fault.hang.set()

    # --- what was asked --------------------------------------------------------------------------------------

    def asked(self) -> list[str]:
        """The calls since last time, as ``ListContainers`` or ``ContainerStatus/c1``, filtered lists as ``.../uid``."""
        calls, self.calls = self.calls, []
        return [_name(call) for call in calls]

    # --- Transport -------------------------------------------------------------------------------------------

    async def unary(self, method: Method, request: bytes, *, timeout_ns: int | None) -> bytes:
        message = method.request.FromString(request)
        fault = await self._arrive(method, message, timeout_ns)
        if fault is not None and fault.error is not None:
            raise fault.error
        if fault is not None and fault.answer is not None:
            return fault.answer
        return self._answer(method.name, message).SerializeToString()

    @asynccontextmanager
    async def stream(
        self, method: Method, request: bytes, *, timeout_ns: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        message = method.request.FromString(request)
        if method.name == "GetContainerEvents":
            fault = await self._arrive(method, message, timeout_ns)
            if fault is not None and fault.error is not None:
                raise fault.error
            self.streams.append(Streamed())
            self.on_stream(self.streams[-1])
            yield self._events(self.streams[-1])
        else:
            yield self._stream_list(method, message, timeout_ns)

    async def aclose(self) -> None:
        pass

    async def _arrive(self, method: Method, message: Any, timeout_ns: int | None) -> Fault | None:
        """Take the call's time; the fault that it meets."""
        id_ = getattr(message, "pod_sandbox_id", "") or getattr(message, "container_id", "")
        call = Call(method.name, id_, message, self.clock.monotonic(), timeout_ns)
        self.calls.append(call)
        delay = self.delays.get(method.name, MILLISECOND)
        if timeout_ns is not None and delay >= timeout_ns:
            await anyio.sleep(seconds(timeout_ns))
            raise CriError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
        await anyio.sleep(seconds(delay))
        fault = self._fault(call)
        if fault is None:
            return None
        if fault.times is not None:
            fault.times -= 1
        if fault.hang is not None:
            rest = None if timeout_ns is None else seconds(timeout_ns - (self.clock.monotonic() - call.at))
            with anyio.move_on_after(rest):
                await fault.hang.wait()
                return None
            raise CriError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
        return fault

    def _fault(self, call: Call) -> Fault | None:
        whole = f"{call.rpc}/all" if "List" in call.rpc and not call.uid else ""
        for name in (whole, _name(call), call.rpc):
            fault = self.faults.get(name)
            if fault is not None and fault.times != 0:
                return fault
        return None

    def _answer(self, rpc: str, request: Any) -> Message:
        if rpc == "ListPodSandbox":
            return cri.ListPodSandboxResponse(items=self.order(_matching(self.sandboxes, request.filter)))
        if rpc == "ListContainers":
            return cri.ListContainersResponse(containers=self.order(_matching(self.containers, request.filter)))
        if rpc == "PodSandboxStatus":
            return _known(self.sandbox_statuses, request.pod_sandbox_id)
        if rpc == "ContainerStatus":
            return _known(self.container_statuses, request.container_id)
        if rpc == "Status":
            return self.status
        if rpc == "Version":
            return cri.VersionResponse(
                version="0.1.0", runtime_name="scripted", runtime_version="1", runtime_api_version="v1"
            )
        raise CriError(Code.UNIMPLEMENTED, f"unknown method {rpc}")

    async def _stream_list(self, method: Method, message: Any, timeout_ns: int | None) -> AsyncIterator[bytes]:
        fault = await self._arrive(method, message, timeout_ns)
        if not self.chunk:
            raise CriError(Code.UNIMPLEMENTED, f"unknown method {method.name}")
        pods = method.name == "StreamPodSandboxes"
        items = iter(self.order(_matching(self.sandboxes if pods else self.containers, message.filter)))
        while chunk := list(islice(items, self.chunk)):
            response = (
                cri.StreamPodSandboxesResponse(pod_sandboxes=chunk)
                if pods
                else cri.StreamContainersResponse(containers=chunk)
            )
            yield response.SerializeToString()
            if fault is not None and fault.error is not None:  # in the midst of the stream
                raise fault.error

    async def _events(self, stream: Streamed) -> AsyncIterator[bytes]:
        while True:
            while stream.waiting:
                await anyio.sleep(seconds(self.delays.get("event", MILLISECOND)))
                yield stream.waiting.pop(0)
            if stream.ended:
                if stream.error is not None:
                    raise stream.error
                return
            await stream.changed.wait()
            stream.changed = anyio.Event()


def _name(call: Call) -> str:
    return "/".join(part for part in (call.rpc, call.id or (call.uid if "List" in call.rpc else "")) if part)


def _matching(items: dict[str, T], filter_: Any) -> list[T]:
    found: list[T] = []
    for item in items.values():
        entry: Any = item
        if filter_.HasField("state") and entry.state != filter_.state.state:
            continue
        if all(entry.labels.get(key) == value for key, value in filter_.label_selector.items()):
            found.append(item)
    return found


def _known(statuses: dict[str, T], id_: str) -> T:
    if id_ not in statuses:
        raise CriError(Code.NOT_FOUND, f"an error occurred when try to find {id_!r}: not found")
    return statuses[id_]
