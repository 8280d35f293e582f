"""A fake runtime in virtual time, and a client that speaks messages to it."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, ParamSpec

import anyio
import anyio.lowlevel
from google.protobuf.message import Message

from cri.methods import METHODS
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb
from cri.virtual_time import run_virtual, virtual_clock
from fake_cri.faults import FaultPlan
from fake_cri.journal import Change
from fake_cri.profiles import Profile, built_in_profiles, load_profile
from fake_cri.runtime import FakeRuntime

P = ParamSpec("P")

PROFILES: Final = tuple(built_in_profiles())
CONTAINERD: Final = ("containerd-1.6", "containerd-1.7", "containerd-2.4")
CRI_O: Final = ("cri-o", "cri-o-noevents")
IMAGE: Final = "shop.example/app:v1"
NO_SUCH_ID: Final = "f" * 64


def in_virtual_time(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """The test runs to its end in virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(functools.partial(test, *args, **kwargs))

    return run


class Client:
    """Calls one runtime directly, without a transport and its costs."""

    def __init__(self, runtime: FakeRuntime) -> None:
        self.runtime = runtime

    async def call(self, rpc: str, **fields: Any) -> Any:
        """The parsed answer; raises CriError."""
        method = METHODS[rpc]
        return method.response.FromString(
            await self.runtime.unary(method, method.request(**fields).SerializeToString())
        )

    async def code(self, rpc: str, **fields: Any) -> Code:
        """How the call ends."""
        try:
            await self.call(rpc, **fields)
        except CriError as error:
            return error.code
        return Code.OK

    async def stream(self, rpc: str, **fields: Any) -> list[Any]:
        """All messages of a stream that ends."""
        method = METHODS[rpc]
        request = method.request(**fields).SerializeToString()
        return [method.response.FromString(message) async for message in self.runtime.stream(method, request)]

    async def run(self, name: str = "pod", *, uid: str = "", attempt: int = 0, host_network: bool = False) -> str:
        """RunPodSandbox; the id."""
        config = sandbox_config(name, uid=uid, attempt=attempt)
        if host_network:
            config.linux.security_context.namespace_options.network = pb.NODE
        answer = await self.call("RunPodSandbox", config=config)
        return str(answer.pod_sandbox_id)

    async def create(
        self, sandbox: str, name: str = "main", *, attempt: int = 0, annotations: dict[str, str] | None = None
    ) -> str:
        """CreateContainer; the id."""
        self.runtime.catalogue.pull(IMAGE)
        config = container_config(name, attempt=attempt)
        config.annotations.update(annotations or {})
        found = self.runtime.state.sandboxes.find(sandbox)
        if found is not None:
            config.labels["io.kubernetes.pod.uid"] = found.uid
        answer = await self.call("CreateContainer", pod_sandbox_id=sandbox, config=config)
        return str(answer.container_id)

    async def start(self, sandbox: str, name: str = "main", *, annotations: dict[str, str] | None = None) -> str:
        """CreateContainer and StartContainer; the id."""
        container = await self.create(sandbox, name, annotations=annotations)
        await self.call("StartContainer", container_id=container)
        return container

    async def status(self, container: str) -> pb.ContainerStatus:
        answer = await self.call("ContainerStatus", container_id=container)
        status: pb.ContainerStatus = answer.status
        return status

    async def sandbox_status(self, sandbox: str) -> pb.PodSandboxStatus:
        answer = await self.call("PodSandboxStatus", pod_sandbox_id=sandbox)
        status: pb.PodSandboxStatus = answer.status
        return status

    @asynccontextmanager
    async def events(self) -> AsyncIterator[list[pb.ContainerEventResponse]]:
        """Subscribed while the block runs; the list has what came so far, once the loop has turned."""
        seen: list[pb.ContainerEventResponse] = []

        async def subscribe() -> None:
            async for message in self.runtime.stream(METHODS["GetContainerEvents"], b""):
                seen.append(pb.ContainerEventResponse.FromString(message))  # noqa: PERF401 - each as it comes

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(subscribe)
            await settle()
            yield seen
            await settle()
            tasks.cancel_scope.cancel()


@functools.cache
def profile_named(name: str) -> Profile:
    """Read once: profiles are immutable."""
    return load_profile(name)


async def settle() -> None:
    """Let every task run that can."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


def make_runtime(
    profile: str = "containerd-2.4",
    *,
    seed: int | str = 1,
    journal: Callable[[Change], None] | None = None,
    faults: Iterable[FaultPlan] = (),
) -> FakeRuntime:
    """On the clock of the running virtual loop."""
    return FakeRuntime(profile_named(profile), clock=virtual_clock(), seed=seed, journal=journal, faults=faults)


def make_client(profile: str = "containerd-2.4", **options: Any) -> Client:
    return Client(make_runtime(profile, **options))


def sandbox_config(name: str = "pod", *, uid: str = "", attempt: int = 0) -> pb.PodSandboxConfig:
    uid = uid or f"uid-of-{name}"
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name=name, namespace="ns", uid=uid, attempt=attempt),
        hostname=name,
        log_directory=f"/var/log/pods/ns_{name}_{uid}",
        labels={
            "app": name,
            "io.kubernetes.pod.name": name,
            "io.kubernetes.pod.namespace": "ns",
            "io.kubernetes.pod.uid": uid,
        },
        annotations={"note": "kept"},
    )


def container_config(name: str = "main", *, attempt: int = 0, image: str = IMAGE) -> pb.ContainerConfig:
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=name, attempt=attempt),
        image=pb.ImageSpec(image=image),
        command=["/bin/app"],
        labels={"io.kubernetes.container.name": name},
        annotations={"io.kubernetes.container.restartCount": str(attempt)},
        log_path=f"{name}/{attempt}.log",
    )


def serialized(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)
