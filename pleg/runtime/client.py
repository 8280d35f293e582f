"""The runtime as a kubelet asks it: pods, one pod, its status, the runtime's status, and the event stream.

Nothing here changes anything in the runtime. Follows pkg/kubelet/kuberuntime (`GetPods`, `GetPod`, `GetPodStatus`)
and k8s.io/cri-client of Kubernetes 1.36. Each call has a deadline, and is told to the hooks with who made it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from google.protobuf.message import DecodeError, Message

from cri.clock import MINUTE, Clock
from cri.methods import METHODS
from cri.transport import Code, CriError, Transport
from cri.v1 import api_pb2 as cri
from pleg.hooks import Hooks, skip_panic
from pleg.pods import Call, ContainerEvent, ContainerStatus, Pod, PodNotFound, PodStatus, RuntimeCondition, SandboxState
from pleg.runtime import convert
from pleg.runtime.complaints import Complaints
from pleg.runtime.inventory import Inventory, Reading

T = TypeVar("T")
StreamLists = Literal["off", "on", "auto"]

#: runtimeRequestTimeout of the kubelet's configuration.
DEFAULT_TIMEOUT: Final = 2 * MINUTE

_STREAMED: Final = {"ListPodSandbox": "StreamPodSandboxes", "ListContainers": "StreamContainers"}


@dataclass(slots=True)
class _ListMode:
    """Whether lists are streamed; shared by all callers, for UNIMPLEMENTED turns it off for good."""

    wanted: StreamLists
    streaming: bool


class RuntimeClient:
    """Asks one runtime over one transport on behalf of one caller."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        hooks: Hooks,
        *,
        caller: str,
        timeout: int = DEFAULT_TIMEOUT,
        stream_lists: StreamLists = "off",
        statuses_from_sandbox: bool = False,
    ) -> None:
        """`timeout` is per call, in ns.

        `statuses_from_sandbox` is what the EventedPLEG gate changes in GetPodStatus: container statuses and time come
        from PodSandboxStatus of the newest sandbox where the runtime sets its timestamp.
        """
        self._transport = transport
        self._clock = clock
        self._hooks = hooks
        self._caller = caller
        self._timeout = timeout
        self._mode = _ListMode(stream_lists, stream_lists == "on")
        self._statuses_from_sandbox = statuses_from_sandbox
        self._complaints = Complaints(clock, hooks)

    def on_behalf_of(self, caller: str) -> RuntimeClient:
        """The same client for another caller; calls are counted by caller."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._caller = caller
        return other

    # --- lists -----------------------------------------------------------------------------------------------

    async def list_pods(self, inventory: Inventory, *, running_only: bool = False) -> tuple[set[str], int]:
        """Bring an inventory up to date by the two lists; which pods changed, and the time before the first list.

        The lists are two snapshots, one after the other. A failure of either raises and changes nothing.
        """
        timestamp = self._clock.now()
        sandbox_filter = cri.PodSandboxFilter()
        container_filter = cri.ContainerFilter()
        if running_only:
            sandbox_filter.state.state = cri.SANDBOX_READY
            sandbox_filter.state.SetInParent()
            container_filter.state.state = cri.CONTAINER_RUNNING
        return await self._list(inventory, timestamp, sandbox_filter, container_filter), timestamp

    async def get_pod(self, uid: str) -> Pod:
        """One pod by two filtered lists. Raises PodNotFound when neither lists anything of it."""
        timestamp = self._clock.now()
        labels = {convert.POD_UID_LABEL: uid}
        inventory = Inventory()
        await self._list(
            inventory,
            timestamp,
            cri.PodSandboxFilter(label_selector=labels),
            cri.ContainerFilter(label_selector=labels),
            pod=uid,
        )
        try:
            return inventory.pods[uid]
        except KeyError:
            raise PodNotFound from None

    async def list_sandboxes(self, inventory: Inventory) -> tuple[set[str], int]:
        """Bring an inventory up to date by one ListPodSandbox alone, as `list_pods` does by two."""
        timestamp = self._clock.now()
        sandboxes = await self._read_list(
            "ListPodSandbox", cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter()), inventory.sandboxes.read
        )
        return inventory.apply(timestamp, sandboxes, (b"", inventory.containers.read(b""))), timestamp

    async def _list(
        self,
        inventory: Inventory,
        timestamp: int,
        sandbox_filter: cri.PodSandboxFilter,
        container_filter: cri.ContainerFilter,
        pod: str = "",
    ) -> set[str]:
        sandboxes = await self._read_list(
            "ListPodSandbox", cri.ListPodSandboxRequest(filter=sandbox_filter), inventory.sandboxes.read, pod
        )
        containers = await self._read_list(
            "ListContainers", cri.ListContainersRequest(filter=container_filter), inventory.containers.read, pod
        )
        return inventory.apply(timestamp, sandboxes, containers)

    async def _read_list(
        self, rpc: str, request: Message, read: Callable[[bytes], T], pod: str = ""
    ) -> tuple[bytes, T]:
        mode = self._mode
        if mode.streaming:
            try:
                return await self._call(_STREAMED[rpc], request, read, pod=pod)
            except CriError as error:
                if error.code is not Code.UNIMPLEMENTED:
                    raise
            mode.wanted, mode.streaming = "off", False
        try:
            return await self._call(rpc, request, read, pod=pod)
        except CriError as error:
            if mode.wanted != "auto" or error.code is not Code.RESOURCE_EXHAUSTED:
                raise
            mode.streaming = True
        return await self._read_list(rpc, request, read, pod)

    # --- statuses --------------------------------------------------------------------------------------------

    async def get_pod_status(self, pod: Pod) -> PodStatus:
        """Inspect a listed pod: one call per sandbox, one per container, one after the other.

        What is gone by now (NOT_FOUND) is left out. Any other failure raises CriError or MalformedAnswer.
        """
        sandboxes = []
        ips: tuple[str, ...] = ()
        active_sandbox = ""
        timestamp = pod.timestamp
        containers: list[ContainerStatus] | None = [] if self._statuses_from_sandbox else None
        from_event_aware_runtime = False
        for position, sandbox in enumerate(pod.sandboxes):
            response = await self._sandbox_status(pod, sandbox.id)
            if response is None:
                continue
            status = convert.to_sandbox_status(convert.check_sandbox_status(response))
            sandboxes.append(status)
            if position:
                continue
            if status.state is SandboxState.READY:
                ips, active_sandbox = status.ips, status.id
            if containers is not None and response.timestamp:
                from_event_aware_runtime = True
                timestamp = response.timestamp
                containers = []
                for one in response.containers_statuses:
                    if one.HasField("image"):
                        containers.append(convert.to_container_status(one))
                    else:
                        skip_panic(self._hooks, "kuberuntime_container.go", "nil Image in a container's status")
            elif containers is not None:
                containers = await self._container_statuses(pod)
        if containers is None:
            containers = await self._container_statuses(pod)
        active: list[ContainerStatus] = []
        if active_sandbox and not from_event_aware_runtime:
            members = {c.id for c in pod.containers if c.sandbox_id == active_sandbox}
            active = [status for status in containers if status.id in members]
        self._complaints.pod_succeeded(pod)
        return PodStatus(
            uid=pod.uid,
            name=pod.name,
            namespace=pod.namespace,
            ips=ips,
            containers=tuple(containers),
            active_containers=tuple(active),
            sandboxes=tuple(sandboxes),
            timestamp=timestamp,
        )

    async def _sandbox_status(self, pod: Pod, sandbox_id: str) -> cri.PodSandboxStatusResponse | None:
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        try:
            response = await self._status("PodSandboxStatus", request, cri.PodSandboxStatusResponse, pod)
            if response is not None and response.HasField("status"):
                convert.check_sandbox_status(response)
        except convert.RUNTIME_ERRORS as error:
            self._complaints.sandbox_failed(sandbox_id, error)
            raise
        return response

    async def _container_statuses(self, pod: Pod) -> list[ContainerStatus]:
        try:
            return await self._ask_container_statuses(pod)
        except convert.RUNTIME_ERRORS as error:
            self._complaints.pod_failed(pod, error)
            raise

    async def _ask_container_statuses(self, pod: Pod) -> list[ContainerStatus]:
        statuses = []
        for container in pod.containers:
            response = await self._status(
                "ContainerStatus",
                cri.ContainerStatusRequest(container_id=container.id),
                cri.ContainerStatusResponse,
                pod,
                container.name or container.id,
            )
            if response is None:
                continue
            try:
                status = convert.check_container_status(response)
            except convert.MalformedAnswer as error:
                self._complaints.container_refused(container.id, error)
                raise
            statuses.append(convert.to_container_status(status))
        return list(convert.newest_first(statuses))

    async def _status(self, rpc: str, request: Message, answer: type[M], pod: Pod, container: str = "") -> M | None:
        name = f"{pod.namespace}/{pod.name}" if pod.name else pod.uid
        try:
            return (await self._call(rpc, request, answer.FromString, pod=name, container=container))[1]
        except CriError as error:
            if error.code is Code.NOT_FOUND:
                return None
            raise

    async def runtime_status(self) -> tuple[RuntimeCondition, ...]:
        """The runtime's conditions, RuntimeReady and NetworkReady among them: fewer than two are an error."""
        _, response = await self._call("Status", cri.StatusRequest(), cri.StatusResponse.FromString)
        if len(response.status.conditions) < 2:
            raise convert.MalformedAnswer("RuntimeReady or NetworkReady condition are not set")
        return tuple(RuntimeCondition(c.type, c.status, c.reason, c.message) for c in response.status.conditions)

    async def runtime_name(self) -> str:
        """What the runtime calls itself; a container's full id begins with it."""
        _, response = await self._call("Version", cri.VersionRequest(), cri.VersionResponse.FromString)
        return response.runtime_name

    # --- events ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def container_events(self) -> AsyncIterator[AsyncIterator[ContainerEvent]]:
        """Open the event stream. Entering raises CriError when there is no connection.

        Iterating raises CriError at every end of the stream but a clean one.
        """
        method = METHODS["GetContainerEvents"]
        request = cri.GetEventsRequest().SerializeToString()
        call = Call(method.name, self._caller, self._clock.now())
        begin = self._clock.monotonic()
        received = count = 0
        error: Exception | None = None
        self._hooks.call_started(call)

        async def events(messages: AsyncIterator[bytes]) -> AsyncIterator[ContainerEvent]:
            nonlocal received, count
            async for data in messages:
                received += len(data)
                count += 1
                yield convert.to_event(_decode(cri.ContainerEventResponse.FromString, data))

        try:
            async with self._transport.stream(method, request) as messages:
                yield events(messages)
        except Exception as caught:
            error = caught
            raise
        finally:
            duration = self._clock.monotonic() - begin
            self._hooks.call_ended(call, duration, error, len(request), received, count)

    # --- one call --------------------------------------------------------------------------------------------

    async def _call(
        self, rpc: str, request: Message, decode: Callable[[bytes], T], *, pod: str = "", container: str = ""
    ) -> tuple[bytes, T]:
        method = METHODS[rpc]
        sent = request.SerializeToString()
        call = Call(rpc, self._caller, self._clock.now(), pod, container)
        begin = self._clock.monotonic()
        answer = b""
        items = 0
        error: Exception | None = CriError(Code.CANCELLED, "context canceled")
        self._hooks.call_started(call)
        try:
            if method.streams:
                chunks = []
                async with self._transport.stream(method, sent, timeout_ns=self._timeout) as messages:
                    chunks.extend([chunk async for chunk in messages])
                # Serialized messages put end to end are the message of all their repeated fields.
                answer = b"".join(chunks)
            else:
                answer = await self._transport.unary(method, sent, timeout_ns=self._timeout)
            value = _decode(decode, answer)
            items = value.items if isinstance(value, Reading) else 0
            error = None
        except Exception as caught:
            error = caught
            self._complaints.call_failed(rpc, request, caught)
            raise
        finally:
            duration = self._clock.monotonic() - begin
            self._hooks.call_ended(call, duration, error, len(sent), len(answer), items)
        self._complaints.call_succeeded(request)
        return answer, value


M = TypeVar("M", cri.PodSandboxStatusResponse, cri.ContainerStatusResponse)


def _decode(decode: Callable[[bytes], T], data: bytes) -> T:
    try:
        return decode(data)
    except DecodeError:
        # In the words of Go's protobuf: the kubelet's log has no others.
        message = "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data"
        raise CriError(Code.INTERNAL, message) from None
