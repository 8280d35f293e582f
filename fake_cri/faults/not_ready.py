"""`not_ready(runtime)`, `not_ready(network)`: Status answers, and a condition in it is false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from cri.methods import Method
from fake_cri.faults.base import Call, Fault

_CONDITIONS: Final = {
    "runtime": ("RuntimeReady", "ContainerdNotReady", "containerd is not ready"),
    "network": (
        "NetworkReady",
        "NetworkPluginNotReady",
        "Network plugin returns error: cni plugin not initialized",
    ),
}


@dataclass(frozen=True)
class NotReady(Fault):
    """The condition is false, with a runtime's reason and message."""

    name: ClassVar[str] = "not_ready"
    usage: ClassVar[str] = "not_ready(runtime|network)"
    summary: ClassVar[str] = "Status says that RuntimeReady or NetworkReady is false"

    condition: str

    @classmethod
    def parse(cls, given: Sequence[str]) -> NotReady:
        if len(given) != 1 or given[0] not in _CONDITIONS:
            raise ValueError("not_ready needs a condition: write not_ready(runtime) or not_ready(network)")
        return cls(given[0])

    @property
    def arguments(self) -> tuple[str, ...]:
        return (self.condition,)

    def check(self, method: Method) -> None:
        if method.name != "Status":
            raise ValueError(f"not_ready has no meaning for {method}: only Status has conditions")

    def answer(self, call: Call, answer: bytes) -> bytes:
        message: Any = call.method.response.FromString(answer)
        kind, reason, text = _CONDITIONS[self.condition]
        for condition in message.status.conditions:
            if condition.type == kind:
                condition.status, condition.reason, condition.message = False, reason, text
        return bytes(message.SerializeToString(deterministic=True))
