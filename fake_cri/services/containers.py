"""RuntimeService's rpcs about containers."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from cri.clock import SECOND
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb
from fake_cri import behaviour, messages, validation
from fake_cri.core import Core
from fake_cri.identifiers import AmbiguousId
from fake_cri.objects import POD_UID, Container, state_name
from fake_cri.services.sandboxes import matches


class ContainerHandlers:
    """One method for each rpc."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def create(self, request: pb.CreateContainerRequest) -> bytes:
        core = self._core
        sandbox = core.state.find_sandbox(request.pod_sandbox_id, unknown=core.profile.errors.unknown_id_other)
        if sandbox is None:
            raise CriError(Code.NOT_FOUND, f'failed to find sandbox id "{request.pod_sandbox_id}": not found')
        behaviour.check(request.config.annotations)
        validation.check_container(request.config, core.catalogue)
        wanted = request.config.image.image
        image = core.catalogue.find(wanted)
        if image is None:
            raise CriError(core.profile.errors.missing_image, f'failed to resolve image "{wanted}": not found')
        container = core.state.create_container(sandbox, request.config, core.catalogue.names(image))
        return pb.CreateContainerResponse(container_id=container.id).SerializeToString()

    async def start(self, request: pb.StartContainerRequest) -> bytes:
        core = self._core
        container = core.state.find_container(request.container_id, unknown=core.profile.errors.unknown_id_start)
        if container is not None:
            core.state.start_container(container)
            core.logs.start(container)
            core.exits.started(container)
        return b""

    async def stop(self, request: pb.StopContainerRequest) -> bytes:
        core = self._core
        container = core.state.find_container(request.container_id, unknown=core.profile.errors.unknown_id_stop)
        if container is not None:
            core.state.stop_created(container)
            await core.stop([container], grace=max(0, request.timeout) * SECOND)
        return b""

    async def remove(self, request: pb.RemoveContainerRequest) -> bytes:
        core = self._core
        container = core.state.find_container(request.container_id, unknown=core.profile.errors.unknown_id_remove)
        if container is not None:
            core.state.remove_container(container)
        return b""

    async def status(self, request: pb.ContainerStatusRequest) -> bytes:
        core = self._core
        container = core.state.find_container(request.container_id, unknown=core.profile.errors.unknown_id_status)
        answer = pb.ContainerStatusResponse()
        if container is not None:
            answer.status.CopyFrom(core.state.messages.container_status(container))
            if request.verbose:
                answer.info.update(messages.container_info(container))
        return answer.SerializeToString(deterministic=True)

    async def update_resources(self, request: pb.UpdateContainerResourcesRequest) -> bytes:
        core = self._core
        container = core.state.find_container(request.container_id, unknown=core.profile.errors.unknown_id_other)
        if container is not None:
            core.state.update_resources(container, request.linux)
        return b""

    async def reopen_log(self, request: pb.ReopenContainerLogRequest) -> bytes:
        core = self._core
        container = core.state.find_container(request.container_id, unknown=core.profile.errors.unknown_id_other)
        if container is not None:
            if not container.running:
                text = f'container "{container.id}" is not running: {state_name(container)}'
                raise CriError(core.profile.errors.wrong_state, text)
            core.logs.reopen(container)
        return b""

    async def listed(self, request: pb.ListContainersRequest) -> bytes:
        wanted = self._filtered(request.filter)
        entries = self._core.state.container_entries
        return entries.all() if wanted is None else b"".join(entries.some(wanted))

    async def stream(self, request: pb.StreamContainersRequest) -> AsyncGenerator[bytes, None]:
        wanted = self._filtered(request.filter)
        entries = self._core.state.container_entries
        chunks = entries.chunks() if wanted is None else entries.some(wanted)
        size = self._core.profile.lists.stream_chunk
        for at in range(0, len(chunks), size):
            yield b"".join(chunks[at : at + size])

    def _filtered(self, given: pb.ContainerFilter) -> list[str] | None:
        """Ids in the order of creation; None for all. The state's wrapper counts by presence: CREATED is 0."""
        with_state = given.HasField("state")
        if not given.id and not given.pod_sandbox_id and not with_state and not given.label_selector:
            return None
        candidates = self._candidates(given)
        if with_state:
            candidates = [container for container in candidates if container.state == given.state.state]
        if given.label_selector:
            selector = dict(given.label_selector)
            candidates = [container for container in candidates if matches(container.config.labels, selector)]
        return [container.id for container in candidates]

    def _candidates(self, given: pb.ContainerFilter) -> list[Container]:
        state = self._core.state
        try:
            only = state.containers.find(given.id) if given.id else None
            sandbox = state.sandboxes.find(given.pod_sandbox_id) if given.pod_sandbox_id else None
        except AmbiguousId:
            return []
        if given.pod_sandbox_id and sandbox is None:
            return []
        if given.id:
            fits = only is not None and (sandbox is None or only.sandbox is sandbox)
            return [only] if only is not None and fits else []
        if sandbox is not None:
            return list(sandbox.containers.values())
        uid = given.label_selector.get(POD_UID, "")
        return state.containers_labelled(uid) if uid else list(state.containers)
