"""ImageService's rpcs, over the catalogue."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import anyio

from cri.clock import MILLISECOND, seconds
from cri.v1 import api_pb2 as pb
from fake_cri.core import Core


class ImageHandlers:
    """One method for each rpc."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def listed(self, request: pb.ListImagesRequest) -> bytes:
        return pb.ListImagesResponse(images=self._images(request.filter)).SerializeToString(deterministic=True)

    async def stream(self, request: pb.StreamImagesRequest) -> AsyncGenerator[bytes, None]:
        images = self._images(request.filter)
        size = self._core.profile.lists.stream_chunk
        for at in range(0, len(images), size):
            answer = pb.StreamImagesResponse(images=images[at : at + size])
            yield answer.SerializeToString(deterministic=True)

    def _images(self, given: pb.ImageFilter) -> list[pb.Image]:
        catalogue = self._core.catalogue
        return [catalogue.message(image) for image in catalogue.list(given.image.image)]

    async def status(self, request: pb.ImageStatusRequest) -> bytes:
        """`image` stays unset for an unknown one."""
        catalogue = self._core.catalogue
        answer = pb.ImageStatusResponse()
        image = catalogue.find(request.image.image)
        if image is not None:
            answer.image.CopyFrom(catalogue.message(image))
            if request.verbose:
                info = {"chainID": image.manifest, "imageSpec": {"architecture": "amd64", "os": "linux", "config": {}}}
                answer.info["info"] = json.dumps(info, separators=(",", ":"), sort_keys=True)
        return answer.SerializeToString(deterministic=True)

    async def pull(self, request: pb.PullImageRequest) -> bytes:
        """Takes its time, so that a short deadline is missed; then the image is there."""
        core = self._core
        core.catalogue.check(request.image.image)
        least, most = core.profile.images.pull_milliseconds
        await anyio.sleep(seconds(core.chance.randint(least * MILLISECOND, most * MILLISECOND)))
        image = core.catalogue.pull(request.image.image)
        return pb.PullImageResponse(image_ref=core.catalogue.image_id(image)).SerializeToString()

    async def remove(self, request: pb.RemoveImageRequest) -> bytes:
        core = self._core
        image = core.catalogue.find(request.image.image)
        if image is not None:
            full_id = core.catalogue.image_id(image)
            in_use = any(container.image_id == full_id for container in core.state.containers)
            core.catalogue.remove(request.image.image, in_use=in_use)
        return b""

    async def fs_info(self, request: pb.ImageFsInfoRequest) -> bytes:
        """One filesystem, mounted where every machine has one."""
        core = self._core
        usage = pb.FilesystemUsage(
            timestamp=core.clock.now(),
            fs_id=pb.FilesystemIdentifier(mountpoint="/"),
            used_bytes=pb.UInt64Value(value=core.catalogue.used_bytes()),
            inodes_used=pb.UInt64Value(value=1 + 1000 * len(core.catalogue)),
        )
        answer = pb.ImageFsInfoResponse(image_filesystems=[usage])
        if core.profile.images.container_filesystem:
            usage.used_bytes.value = 4096 * len(core.state.containers)
            usage.inodes_used.value = 1 + len(core.state.containers)
            answer.container_filesystems.append(usage)
        return answer.SerializeToString()
