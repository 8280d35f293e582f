"""RuntimeService's rpcs about the runtime itself, and its event stream."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb
from fake_cri.core import Core


class NodeHandlers:
    """One method for each rpc."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._pod_cidr = ""

    async def version(self, request: pb.VersionRequest) -> bytes:
        runtime = self._core.profile.runtime
        return pb.VersionResponse(
            version="0.1.0", runtime_name=runtime.name, runtime_version=runtime.version, runtime_api_version="v1"
        ).SerializeToString()

    async def status(self, request: pb.StatusRequest) -> bytes:
        """Always healthy: what a client shall see of trouble comes by faults."""
        runtime = self._core.profile.runtime
        answer = pb.StatusResponse(
            status=pb.RuntimeStatus(
                conditions=[
                    pb.RuntimeCondition(type="RuntimeReady", status=True),
                    pb.RuntimeCondition(type="NetworkReady", status=True),
                ]
            ),
        )
        omits = self._core.profile.status.omits
        if "runtime_handlers" not in omits:
            for name in runtime.handlers:
                answer.runtime_handlers.add(name=name, features=pb.RuntimeHandlerFeatures())
        if "features" not in omits:
            answer.features.supplemental_groups_policy = True
        if request.verbose:
            config = {"cgroupDriver": runtime.cgroup_driver, "podCIDR": self._pod_cidr, "fake": True}
            answer.info["config"] = json.dumps(config, separators=(",", ":"), sort_keys=True)
        return answer.SerializeToString(deterministic=True)

    async def runtime_config(self, request: pb.RuntimeConfigRequest) -> bytes:
        driver = pb.CgroupDriver.Value(self._core.profile.runtime.cgroup_driver)
        return pb.RuntimeConfigResponse(linux=pb.LinuxRuntimeConfiguration(cgroup_driver=driver)).SerializeToString()

    async def update_runtime_config(self, request: pb.UpdateRuntimeConfigRequest) -> bytes:
        """Remembers the pod CIDR for a verbose Status to show."""
        self._pod_cidr = request.runtime_config.network_config.pod_cidr
        return b""

    async def events(self, request: pb.GetEventsRequest) -> AsyncGenerator[bytes, None]:
        kind = self._core.profile.events.stream
        if kind == "unimplemented":
            raise CriError(Code.UNIMPLEMENTED, "method GetContainerEvents not implemented")
        if kind == "ends-at-once":
            return
        async with aclosing(self._core.events.subscribe()) as events:
            async for event in events:
                yield event
