"""Driving a runtime from a test: CRI over gRPC, without asyncio."""

from __future__ import annotations

import itertools
from types import TracebackType
from typing import Any, Self

import grpc

from cri.methods import METHODS
from cri.v1 import api_pb2

from .images import FOREVER, IMAGE


class RuntimeClient:
    """One connection to a runtime; every rpc by its plain name."""

    def __init__(self, endpoint: str) -> None:
        # grpcio derives an authority from the socket's path that Go's servers refuse.
        options = [("grpc.default_authority", "localhost"), ("grpc.max_receive_message_length", 16 << 20)]
        self._channel = grpc.insecure_channel(endpoint, options=options)
        self._uids = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def call(self, name: str, /, deadline: float = 30.0, **fields: Any) -> Any:
        """The answer's message; grpc.RpcError for any code but OK."""
        method = METHODS[name]
        rpc = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        # A runtime that has just been started may not listen yet.
        return rpc(method.request(**fields), timeout=deadline, wait_for_ready=True)

    def ready(self) -> bool:
        """Whether the runtime says RuntimeReady."""
        try:
            conditions = self.call("Status", deadline=5.0).status.conditions
        except grpc.RpcError:
            return False
        return any(condition.type == "RuntimeReady" and condition.status for condition in conditions)

    def run_pod(self, name: str) -> Pod:
        """A pod on the host's network, as containerd can run it without CNI."""
        uid = f"{name}-{next(self._uids)}"
        config = api_pb2.PodSandboxConfig(
            metadata=api_pb2.PodSandboxMetadata(name=name, namespace="peers", uid=uid),
            labels={
                "io.kubernetes.pod.name": name,
                "io.kubernetes.pod.namespace": "peers",
                "io.kubernetes.pod.uid": uid,
            },
            linux=api_pb2.LinuxPodSandboxConfig(
                security_context=api_pb2.LinuxSandboxSecurityContext(
                    namespace_options=api_pb2.NamespaceOption(network=api_pb2.NODE)
                )
            ),
        )
        return Pod(self, uid, config, self.call("RunPodSandbox", config=config).pod_sandbox_id)

    def containers(self) -> list[api_pb2.Container]:
        """All containers, in whatever state."""
        return list(self.call("ListContainers").containers)

    def remove_all_pods(self) -> None:
        """Stops and removes every sandbox, and with each its containers."""
        for sandbox in self.call("ListPodSandbox").items:
            self.call("StopPodSandbox", pod_sandbox_id=sandbox.id)
            self.call("RemovePodSandbox", pod_sandbox_id=sandbox.id)


class Pod:
    """One running sandbox, and what is done to it."""

    def __init__(self, client: RuntimeClient, uid: str, config: api_pb2.PodSandboxConfig, sandbox: str) -> None:
        self._client = client
        self._config = config
        self.uid = uid
        self.sandbox = sandbox

    def start(self, name: str, *command: str, attempt: int = 0) -> str:
        """A started container, which sleeps unless told otherwise; its id."""
        config = api_pb2.ContainerConfig(
            metadata=api_pb2.ContainerMetadata(name=name, attempt=attempt),
            image=api_pb2.ImageSpec(image=IMAGE),
            command=command or ("sleep", FOREVER),
            labels={**self._config.labels, "io.kubernetes.container.name": name},
            linux=api_pb2.LinuxContainerConfig(
                security_context=api_pb2.LinuxContainerSecurityContext(
                    namespace_options=api_pb2.NamespaceOption(network=api_pb2.NODE)
                )
            ),
        )
        answer = self._client.call(
            "CreateContainer", pod_sandbox_id=self.sandbox, config=config, sandbox_config=self._config
        )
        container: str = answer.container_id
        self._client.call("StartContainer", container_id=container)
        return container

    def remove(self) -> None:
        """Stops and removes the sandbox and what is in it."""
        self._client.call("StopPodSandbox", pod_sandbox_id=self.sandbox)
        self._client.call("RemovePodSandbox", pod_sandbox_id=self.sandbox)
