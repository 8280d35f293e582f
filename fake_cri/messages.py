"""From the objects that the runtime holds to the messages that clients read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from cri.v1 import api_pb2 as pb
from fake_cri.entries import map_entries
from fake_cri.objects import PADDING, Container, Sandbox
from fake_cri.profiles import Profile


class Messages:
    """Writes messages as one runtime does."""

    def __init__(self, profile: Profile, entry_bytes: int = 0) -> None:
        """List entries are filled up to `entry_bytes` by an annotation."""
        self._entry_bytes = entry_bytes
        self._keeps_ip = profile.lifecycle.keeps_ip_after_stop
        self._omits = frozenset(profile.status.omits)

    def sandbox_entry(self, sandbox: Sandbox) -> tuple[bytes, bytes]:
        """The serialized PodSandbox of a list, in two spellings that differ in the order of labels and annotations."""
        config = sandbox.config
        base = pb.PodSandbox(
            id=sandbox.id,
            metadata=config.metadata,
            state=sandbox.state,
            created_at=sandbox.created_at,
            runtime_handler=sandbox.runtime_handler,
        )
        return self._spellings(base, 5, config.labels, 6, config.annotations)

    def container_entry(self, container: Container) -> tuple[bytes, bytes]:
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
        )
        if "image_id" not in self._omits:
            base.image_id = container.image_id
        if "user_specified_image" in self._omits:
            base.image.user_specified_image = ""
        return self._spellings(base, 8, config.labels, 9, config.annotations)

    def sandbox_status(self, sandbox: Sandbox) -> pb.PodSandboxStatus:
        """The whole PodSandboxStatus."""
        config = sandbox.config
        status = pb.PodSandboxStatus(
            id=sandbox.id,
            metadata=config.metadata,
            state=sandbox.state,
            created_at=sandbox.created_at,
            network=pb.PodSandboxNetworkStatus(ip=sandbox.ip if sandbox.ready or self._keeps_ip else ""),
            labels=config.labels,
            annotations=config.annotations,
            runtime_handler=sandbox.runtime_handler,
        )
        status.linux.namespaces.options.CopyFrom(config.linux.security_context.namespace_options)
        return status

    def container_status(self, container: Container) -> pb.ContainerStatus:
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
            image=pb.ImageSpec(image=container.image_tag or config.image.image),
            image_ref=container.image_digest or container.image_id,
            reason=container.reason,
            message=container.message,
            labels=config.labels,
            annotations=config.annotations,
            mounts=config.mounts,
            log_path=log_path(container),
        )
        status.resources.linux.CopyFrom(container.resources)
        if "image_id" not in self._omits:
            status.image_id = container.image_id
        if "stop_signal" not in self._omits:
            status.stop_signal = config.stop_signal or pb.SIGNAL_SIGTERM
        if "user" not in self._omits:
            context = config.linux.security_context
            uid, gid = context.run_as_user.value, context.run_as_group.value
            groups = [gid, *context.supplemental_groups]
            status.user.linux.CopyFrom(pb.LinuxContainerUser(uid=uid, gid=gid, supplemental_groups=groups))
        return status

    def _spellings(
        self,
        base: Message,
        labels: int,
        label_pairs: Mapping[str, str],
        annotations: int,
        annotation_pairs: Mapping[str, str],
    ) -> tuple[bytes, bytes]:
        """The entry with its two maps, whose field numbers are given, in the order of their keys and against it."""
        start = base.SerializeToString(deterministic=True)
        first = start + map_entries(labels, label_pairs) + map_entries(annotations, annotation_pairs)
        second = (
            start
            + map_entries(labels, label_pairs, backwards=True)
            + map_entries(annotations, annotation_pairs, backwards=True)
        )
        padding = _padding(annotations, self._entry_bytes - len(first))
        return first + padding, second + padding


def _padding(field: int, size: int) -> bytes:
    """An annotation of about `size` bytes, at most two fewer; nothing where that is too few for one."""
    text = size - len(map_entries(field, {PADDING: ""}))
    while text >= 0:
        entry = map_entries(field, {PADDING: "." * text})
        if len(entry) <= size:
            return entry
        text -= len(entry) - size
    return b""


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
            "config": _as_json(sandbox.config),
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
            "config": _as_json(config),
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


def _as_json(config: Message) -> dict[str, Any]:
    return MessageToDict(config, preserving_proto_field_name=True, use_integers_for_enums=True)


def _info(values: object) -> dict[str, str]:
    return {"info": json.dumps(values, separators=(",", ":"), sort_keys=True)}
