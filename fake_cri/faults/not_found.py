"""`not_found`: the object that the call names is gone, in a runtime's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cri.methods import Method
from cri.transport import Code, CriError
from fake_cri.faults.base import Call, Fault
from fake_cri.faults.text import nothing


@dataclass(frozen=True)
class NotFound(Fault):
    """Ends calls with NOT_FOUND, though the object is there."""

    name: ClassVar[str] = "not_found"
    usage: ClassVar[str] = "not_found"
    summary: ClassVar[str] = "answers that the container or sandbox is gone, though it is there"

    @classmethod
    def parse(cls, given: Sequence[str]) -> NotFound:
        nothing(cls.name, given)
        return cls()

    def check(self, method: Method) -> None:
        if not {"container_id", "pod_sandbox_id"} & set(method.request.DESCRIPTOR.fields_by_name):
            raise ValueError(f"not_found has no meaning for {method}: it names no container or sandbox")

    async def before(self, call: Call) -> None:
        request = call.method.request.FromString(call.request)
        kind = "container" if "container_id" in request.DESCRIPTOR.fields_by_name else "sandbox"
        reference = getattr(request, "container_id" if kind == "container" else "pod_sandbox_id")
        raise CriError(Code.NOT_FOUND, f'an error occurred when try to find {kind} "{reference}": not found')
