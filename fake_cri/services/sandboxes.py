"""RuntimeService's rpcs about pod sandboxes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from cri.clock import SECOND
from cri.v1 import api_pb2 as pb
from fake_cri import behaviour, messages, validation
from fake_cri.core import Core
from fake_cri.identifiers import AmbiguousId
from fake_cri.objects import Sandbox


class SandboxHandlers:
    """One method for each rpc."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self, request: pb.RunPodSandboxRequest) -> bytes:
        behaviour.check(request.config.annotations)
        validation.check_sandbox(request.config)
        sandbox = self._core.state.run_sandbox(request.config, request.runtime_handler)
        return pb.RunPodSandboxResponse(pod_sandbox_id=sandbox.id).SerializeToString()

    async def stop(self, request: pb.StopPodSandboxRequest) -> bytes:
        core = self._core
        sandbox = core.state.find_sandbox(request.pod_sandbox_id, unknown=core.profile.errors.unknown_id_stop)
        if sandbox is not None:
            if core.profile.lifecycle.stop_of_sandbox == "signals":
                await core.stop(list(sandbox.containers.values()), grace=10 * SECOND)
            if sandbox.id in core.state.sandboxes:
                core.state.stop_sandbox(sandbox)
        return b""

    async def remove(self, request: pb.RemovePodSandboxRequest) -> bytes:
        core = self._core
        sandbox = core.state.find_sandbox(request.pod_sandbox_id, unknown=core.profile.errors.unknown_id_remove)
        if sandbox is not None:
            core.state.remove_sandbox(sandbox)
        return b""

    async def status(self, request: pb.PodSandboxStatusRequest) -> bytes:
        core = self._core
        sandbox = core.state.find_sandbox(request.pod_sandbox_id, unknown=core.profile.errors.unknown_id_status)
        answer = pb.PodSandboxStatusResponse()
        if sandbox is not None:
            answer.status.CopyFrom(core.state.messages.sandbox_status(sandbox))
            if request.verbose:
                answer.info.update(messages.sandbox_info(sandbox))
            if core.profile.status.containers_statuses:
                containers = core.events.containers_of(sandbox)
                answer.containers_statuses.extend(
                    core.state.messages.container_status(container) for container in containers
                )
            if core.profile.status.timestamp:
                answer.timestamp = core.clock.now()
        return answer.SerializeToString(deterministic=True)

    async def listed(self, request: pb.ListPodSandboxRequest) -> bytes:
        wanted = self._filtered(request.filter)
        entries = self._core.state.sandbox_entries
        return entries.all() if wanted is None else b"".join(entries.some(wanted))

    async def stream(self, request: pb.StreamPodSandboxesRequest) -> AsyncGenerator[bytes, None]:
        wanted = self._filtered(request.filter)
        entries = self._core.state.sandbox_entries
        chunks = entries.chunks() if wanted is None else entries.some(wanted)
        size = self._core.profile.lists.stream_chunk
        for at in range(0, len(chunks), size):
            yield b"".join(chunks[at : at + size])

    def _filtered(self, given: pb.PodSandboxFilter) -> list[str] | None:
        """Ids in the order of creation; None for all. The state's wrapper counts by presence: READY is 0."""
        with_state = given.HasField("state")
        if not given.id and not with_state and not given.label_selector:
            return None
        candidates: list[Sandbox] = []
        if given.id:
            try:
                found = self._core.state.sandboxes.find(given.id)
            except AmbiguousId:
                found = None
            candidates = [found] if found is not None else []
        else:
            candidates = list(self._core.state.sandboxes)
        if with_state:
            candidates = [sandbox for sandbox in candidates if sandbox.state == given.state.state]
        if given.label_selector:
            selector = dict(given.label_selector)
            candidates = [sandbox for sandbox in candidates if matches(sandbox.config.labels, selector)]
        return [sandbox.id for sandbox in candidates]


def matches(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Exact match on every pair of the selector."""
    return all(labels.get(key) == value for key, value in selector.items())
