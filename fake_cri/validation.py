"""Requests that containerd and CRI-O both refuse, whatever the state is. They promise an error, and no code."""

from __future__ import annotations

from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb
from fake_cri.images import Catalogue


def check_sandbox(config: pb.PodSandboxConfig) -> None:
    """Raises CriError(UNKNOWN) for a configuration that nobody would run."""
    if not config.metadata.name:
        raise _refusal("sandbox config must include metadata with a name")
    context = config.linux.security_context
    if context.HasField("run_as_group") and not context.HasField("run_as_user"):
        raise _refusal("runAsGroup is specified without runAsUser")


def check_container(config: pb.ContainerConfig, catalogue: Catalogue) -> None:
    """Raises CriError(UNKNOWN) for a configuration that nobody would create, NOT_FOUND for an image volume's image."""
    if not config.metadata.name:
        raise _refusal("container config must include metadata with a name")
    context = config.linux.security_context
    if context.HasField("run_as_group") and not context.HasField("run_as_user") and not context.run_as_username:
        raise _refusal("runAsGroup is specified without runAsUser or runAsUsername")
    for mount in config.mounts:
        if mount.recursive_read_only and not mount.readonly:
            raise _refusal(f"mount {mount.container_path}: recursive_read_only needs readonly")
        if mount.recursive_read_only and mount.propagation != pb.PROPAGATION_PRIVATE:
            raise _refusal(f"mount {mount.container_path}: recursive_read_only needs private propagation")
        if mount.image.image:
            if not mount.readonly:
                raise _refusal(f"image volume {mount.container_path} must be readonly")
            if mount.image_sub_path:
                raise _refusal(f"image volume {mount.container_path}: no path {mount.image_sub_path} in the image")
            if catalogue.find(mount.image.image) is None:
                raise CriError(Code.NOT_FOUND, f'failed to resolve image "{mount.image.image}": not found')


def _refusal(text: str) -> CriError:
    return CriError(Code.UNKNOWN, text)
