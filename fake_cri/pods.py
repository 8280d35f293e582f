"""Pods as a kubelet would make them: the configurations that the workload hands to the runtime."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from random import Random
from typing import Final

from cri.v1 import api_pb2 as pb
from fake_cri.objects import CONTAINER_NAME, POD_NAME, POD_NAMESPACE, POD_UID

_NAMES: Final = ("cart", "feed", "mail", "page", "ship", "shop", "user", "vote")
_ROLES: Final = ("app", "log", "net", "vpn", "dns", "tls", "job", "web")
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"  # what Kubernetes makes generated names of


@dataclass(frozen=True, slots=True)
class PodSpec:
    """One pod of the workload."""

    sandbox: pb.PodSandboxConfig
    containers: tuple[str, ...]
    image: str

    def container(self, name: str, attempt: int, image_id: str) -> pb.ContainerConfig:
        """The configuration of its container's next attempt; the attempt is also the restart count."""
        pod = self.sandbox.metadata
        annotations = {
            "io.kubernetes.container.hash": f"{_hash(self.image, name):08x}",
            "io.kubernetes.container.restartCount": str(attempt),
            "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
            "io.kubernetes.container.terminationMessagePolicy": "File",
            "io.kubernetes.pod.terminationGracePeriod": "30",
        }
        config = pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name=name, attempt=attempt),
            image=pb.ImageSpec(image=image_id, user_specified_image=self.image),
            command=["/bin/" + name],
            labels={
                CONTAINER_NAME: name,
                POD_NAME: pod.name,
                POD_NAMESPACE: pod.namespace,
                POD_UID: pod.uid,
            },
            annotations=annotations,
            mounts=[
                pb.Mount(
                    container_path="/dev/termination-log",
                    host_path=f"/var/lib/kubelet/pods/{pod.uid}/containers/{name}/{attempt:08x}",
                )
            ],
            log_path=f"{name}/{attempt}.log",
        )
        resources = config.linux.resources
        resources.cpu_period, resources.cpu_shares, resources.oom_score_adj = 100_000, 102, 1000
        resources.memory_limit_in_bytes = 128 * 1024 * 1024
        return config


def make_pod(rng: Random, number: int, containers: int) -> PodSpec:
    """The `number`-th pod of a workload; the same seed makes the same pods."""
    app = _NAMES[number % len(_NAMES)]
    name = f"{app}-{_suffix(rng, 8)}-{_suffix(rng, 5)}"
    uid = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    namespace = "default"
    config = pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name=name, uid=uid, namespace=namespace),
        hostname=name,
        log_directory=f"/var/log/pods/{namespace}_{name}_{uid}",
        labels={
            "app": app,
            "pod-template-hash": name.split("-")[1],
            POD_NAME: name,
            POD_NAMESPACE: namespace,
            POD_UID: uid,
        },
        annotations={
            "kubernetes.io/config.seen": "2026-01-01T00:00:00.000000000Z",
            "kubernetes.io/config.source": "api",
        },
    )
    config.linux.cgroup_parent = f"/kubepods/burstable/pod{uid}"
    config.linux.security_context.namespace_options.pid = pb.CONTAINER
    return PodSpec(config, tuple(_container_name(n) for n in range(containers)), f"shop.example/{app}:v1")


def _container_name(number: int) -> str:
    role = _ROLES[number % len(_ROLES)]
    return role if number < len(_ROLES) else f"{role}-{number // len(_ROLES)}"


def _suffix(rng: Random, length: int) -> str:
    return "".join(rng.choice(_LETTERS) for _ in range(length))


def _hash(image: str, name: str) -> int:
    """FNV-1a, as the kubelet's container hash is."""
    value = 0x811C9DC5
    for byte in f"{image}/{name}".encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value
