"""Which handler answers which rpc."""

from __future__ import annotations

from fake_cri.core import Core, Handler, StreamHandler
from fake_cri.services.containers import ContainerHandlers
from fake_cri.services.images import ImageHandlers
from fake_cri.services.node import NodeHandlers
from fake_cri.services.sandboxes import SandboxHandlers


def handlers(core: Core) -> dict[str, Handler]:
    """The unary rpcs, without those that the profile's runtime does not know."""
    sandboxes, containers, images, node = (
        SandboxHandlers(core),
        ContainerHandlers(core),
        ImageHandlers(core),
        NodeHandlers(core),
    )
    table: dict[str, Handler] = {
        "RunPodSandbox": sandboxes.run,
        "StopPodSandbox": sandboxes.stop,
        "RemovePodSandbox": sandboxes.remove,
        "PodSandboxStatus": sandboxes.status,
        "ListPodSandbox": sandboxes.listed,
        "CreateContainer": containers.create,
        "StartContainer": containers.start,
        "StopContainer": containers.stop,
        "RemoveContainer": containers.remove,
        "ListContainers": containers.listed,
        "ContainerStatus": containers.status,
        "UpdateContainerResources": containers.update_resources,
        "ReopenContainerLog": containers.reopen_log,
        "Version": node.version,
        "Status": node.status,
        "RuntimeConfig": node.runtime_config,
        "UpdateRuntimeConfig": node.update_runtime_config,
        "ListImages": images.listed,
        "ImageStatus": images.status,
        "PullImage": images.pull,
        "RemoveImage": images.remove,
        "ImageFsInfo": images.fs_info,
    }
    return {rpc: handler for rpc, handler in table.items() if rpc not in core.profile.unimplemented}


def stream_handlers(core: Core) -> dict[str, StreamHandler]:
    """The server-streaming rpcs, without those that the profile's runtime does not know."""
    table: dict[str, StreamHandler] = {
        "StreamPodSandboxes": SandboxHandlers(core).stream,
        "StreamContainers": ContainerHandlers(core).stream,
        "StreamImages": ImageHandlers(core).stream,
        "GetContainerEvents": NodeHandlers(core).events,
    }
    return {rpc: handler for rpc, handler in table.items() if rpc not in core.profile.unimplemented}
