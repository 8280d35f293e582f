"""From the objects that the runtime holds to the messages that clients read."""

from __future__ import annotations

import json
from typing import Final

from cri.v1 import api_pb2 as pb
from fake_cri.entries import map_entries
from fake_cri.objects import Container, Sandbox


def sandbox_entry(sandbox: Sandbox) -> tuple[bytes, bytes]:
    """The serialized PodSandbox of a list, in two spellings that differ in the order of labels and annotations."""
    config = sandbox.config
    base = pb.PodSandbox(
        id=sandbox.id,
        metadata=config.metadata,
        state=sandbox.state,
        created_at=sandbox.created_at,
        runtime_handler=sandbox.runtime_handler,
    ).SerializeToString(deterministic=True)
    labels, annotations = dict(config.labels), dict(config.annotations)
    return (
        base + map_entries(5, labels, backwards=False) + map_entries(6, annotations, backwards=False),
        base + map_entries(5, labels, backwards=True) + map_entries(6, annotations, backwards=True),
    )


def container_entry(container: Container) -> tuple[bytes, bytes]:
    """The serialized Container of a list, in two spellings, as `sandbox_entry`."""
    config = container.config
    base = pb.Container(
        id=container.id,
        pod_sandbox_id=container.sandbox.id,
        metadata=config.metadata,
        image=config.image,
        image_ref=container.image_id,
        state=container.state,
        created_at=container.created_at,
        image_id=container.image_id,
    ).SerializeToString(deterministic=True)
    labels, annotations = dict(config.labels), dict(config.annotations)
    return (
        base + map_entries(8, labels, backwards=False) + map_entries(9, annotations, backwards=False),
        base + map_entries(8, labels, backwards=True) + map_entries(9, annotations, backwards=True),
    )


def sandbox_status(sandbox: Sandbox, *, keeps_ip: bool) -> pb.PodSandboxStatus:
    """`keeps_ip`: the addresses are still shown once the sandbox is NOTREADY."""
    config = sandbox.config
    status = pb.PodSandboxStatus(
        id=sandbox.id,
        metadata=config.metadata,
        state=sandbox.state,
        created_at=sandbox.created_at,
        network=pb.PodSandboxNetworkStatus(ip=sandbox.ip if sandbox.ready or keeps_ip else ""),
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=sandbox.runtime_handler,
    )
    status.linux.namespaces.options.CopyFrom(config.linux.security_context.namespace_options)
    return status


def container_status(container: Container) -> pb.ContainerStatus:
    """The whole ContainerStatus, its times in Unix ns."""
    config = container.config
    status = pb.ContainerStatus(
        id=container.id,
        metadata=config.metadata,
        state=container.state,
        created_at=container.created_at,
        started_at=container.started_at,
        finished_at=container.finished_at,
        exit_code=container.exit_code,
        image=pb.ImageSpec(
            image=container.image_tag or config.image.image, user_specified_image=config.image.user_specified_image
        ),
        image_ref=container.image_digest or container.image_id,
        image_id=container.image_id,
        reason=container.reason,
        message=container.message,
        labels=config.labels,
        annotations=config.annotations,
        mounts=config.mounts,
        log_path=log_path(container),
        stop_signal=config.stop_signal or pb.SIGNAL_SIGTERM,
    )
    if container.resources is not None:
        status.resources.linux.CopyFrom(container.resources)
    if container.started_at:
        context = config.linux.security_context
        uid = context.run_as_user.value
        gid = context.run_as_group.value
        status.user.linux.CopyFrom(
            pb.LinuxContainerUser(uid=uid, gid=gid, supplemental_groups=[gid, *context.supplemental_groups])
        )
    return status


def log_path(container: Container) -> str:
    """The sandbox's log directory joined with the container's log path; empty when either is."""
    directory, path = container.sandbox.config.log_directory, container.config.log_path
    return f"{directory.rstrip('/')}/{path}" if directory and path else ""


_RUNTIME_TYPE: Final = "io.containerd.runc.v2"


def sandbox_info(sandbox: Sandbox) -> dict[str, str]:
    """`info` of a verbose PodSandboxStatus: JSON text."""
    return _info(
        {
            "pid": sandbox.pid if sandbox.ready else 0,
            "processStatus": "running" if sandbox.ready else "deleted",
            "netNamespaceClosed": not sandbox.ready,
            "runtimeHandler": sandbox.runtime_handler,
            "runtimeType": _RUNTIME_TYPE,
            "config": {"hostname": sandbox.config.hostname, "log_directory": sandbox.config.log_directory},
            "runtimeSpec": {"ociVersion": "1.2.1", "hostname": sandbox.config.hostname},
        }
    )


def container_info(container: Container) -> dict[str, str]:
    """`info` of a verbose ContainerStatus: JSON text."""
    config = container.config
    return _info(
        {
            "sandboxID": container.sandbox.id,
            "pid": container.pid if container.running else 0,
            "removing": False,
            "runtimeType": _RUNTIME_TYPE,
            "config": {"image": {"image": config.image.image}, "log_path": config.log_path},
            "runtimeSpec": {
                "ociVersion": "1.2.1",
                "process": {
                    "args": [*config.command, *config.args] or ["/fake"],
                    "cwd": config.working_dir or "/",
                    "terminal": config.tty,
                },
            },
        }
    )


def _info(values: object) -> dict[str, str]:
    return {"info": json.dumps(values, separators=(",", ":"), sort_keys=True)}
