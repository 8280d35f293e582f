"""Sandboxes and containers as the runtime holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cri.v1 import api_pb2 as pb

POD_NAME: Final = "io.kubernetes.pod.name"
POD_NAMESPACE: Final = "io.kubernetes.pod.namespace"
POD_UID: Final = "io.kubernetes.pod.uid"
CONTAINER_NAME: Final = "io.kubernetes.container.name"

#: Annotations of our own, on a container or its sandbox, which say how a process that does not exist behaves.
EXIT_AFTER: Final = "fake-cri/exit-after"  # a duration: the container ends by itself that long after its start
EXIT_CODE: Final = "fake-cri/exit-code"  # its exit code then
STOP_AFTER: Final = "fake-cri/stop-after"  # a duration: how long the container goes on after its stop signal
STOP_EXIT_CODE: Final = "fake-cri/stop-exit-code"  # its exit code when stopped by signal
START_ERROR: Final = "fake-cri/start-error"  # a text: StartContainer fails with it
MISSING_COMMAND: Final = "fake-cri/missing-command"  # a command that the image does not have

PADDING: Final = "fake-cri/padding"  # fills list entries up to the size that was asked for

SandboxKey = tuple[str, str, str, int]
ContainerKey = tuple[str, int, str, str, str]


@dataclass(slots=True, eq=False)
class Sandbox:
    """One pod sandbox. Times are Unix ns; `own` marks what the workload made."""

    id: str
    config: pb.PodSandboxConfig
    runtime_handler: str
    created_at: int
    ip: str
    pid: int
    own: bool
    state: pb.PodSandboxState.ValueType = pb.SANDBOX_READY
    containers: dict[str, Container] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        return self.config.metadata.uid

    @property
    def name(self) -> str:
        return self.config.metadata.name

    @property
    def ready(self) -> bool:
        return self.state == pb.SANDBOX_READY

    @property
    def key(self) -> SandboxKey:
        """What no two sandboxes may share."""
        metadata = self.config.metadata
        return metadata.name, metadata.namespace, metadata.uid, metadata.attempt


@dataclass(slots=True, eq=False)
class Container:
    """One container. Times are Unix ns, 0 until they happen; the state follows from them, as in containerd."""

    id: str
    sandbox: Sandbox
    config: pb.ContainerConfig
    image_id: str
    image_tag: str
    image_digest: str
    created_at: int
    resources: pb.LinuxContainerResources
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    pid: int = 0
    ended: int = 0  # monotonic: when it ended by itself or was stopped
    ends_at: int = 0  # monotonic: when it will have ended by its stop signal; 0 before one was sent

    @property
    def state(self) -> pb.ContainerState.ValueType:
        if self.finished_at:
            return pb.CONTAINER_EXITED
        return pb.CONTAINER_RUNNING if self.started_at else pb.CONTAINER_CREATED

    @property
    def running(self) -> bool:
        return self.started_at > 0 and not self.finished_at

    @property
    def key(self) -> ContainerKey:
        """What no two containers may share."""
        return container_key(self.config.metadata.name, self.config.metadata.attempt, self.sandbox)

    def annotation(self, key: str) -> str | None:
        """The container's annotation, else its sandbox's: a kubelet puts a pod's annotations on the sandbox only.

        There `key` is for all of the pod's containers, and `key.NAME` for the one of that name.
        """
        if key in self.config.annotations:
            return self.config.annotations[key]
        of_pod = self.sandbox.config.annotations
        return of_pod.get(f"{key}.{self.config.metadata.name}", of_pod.get(key))


def container_key(name: str, attempt: int, sandbox: Sandbox) -> ContainerKey:
    """The natural key that a new container would take."""
    pod = sandbox.config.metadata
    return name, attempt, pod.name, pod.namespace, pod.uid


def state_name(subject: Sandbox | Container) -> str:
    """CRI's name of its state, such as CONTAINER_RUNNING."""
    if isinstance(subject, Sandbox):
        return pb.PodSandboxState.Name(subject.state)
    return pb.ContainerState.Name(subject.state)
