"""The rpcs of CRI v1 by their plain names, read from the generated descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from cri.v1 import api_pb2


@dataclass(frozen=True, slots=True)
class Method:
    """One rpc: its plain name, its gRPC path, its message types, and whether the answer is a stream."""

    name: str
    service: str
    path: str
    request: type[Message]
    response: type[Message]
    streams: bool

    def __str__(self) -> str:
        return self.name


def _methods() -> dict[str, Method]:
    methods = {}
    for service in api_pb2.DESCRIPTOR.services_by_name.values():
        for rpc in service.methods:
            methods[rpc.name] = Method(
                name=rpc.name,
                service=service.full_name,
                path=f"/{service.full_name}/{rpc.name}",
                request=GetMessageClass(rpc.input_type),
                response=GetMessageClass(rpc.output_type),
                streams=rpc.server_streaming,
            )
    return methods


#: Every rpc of both services; their names do not collide.
METHODS: Final[dict[str, Method]] = _methods()
