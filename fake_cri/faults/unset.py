"""`unset`: the call ends well, and its answer says nothing: the status in it is not set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from cri.methods import Method
from fake_cri.faults.base import Call, Fault
from fake_cri.faults.text import nothing

_FIELDS: Final = ("status", "image")


@dataclass(frozen=True)
class Unset(Fault):
    """Clears the answer's status; of ImageStatus its image."""

    name: ClassVar[str] = "unset"
    usage: ClassVar[str] = "unset"
    summary: ClassVar[str] = "serves the call, and leaves the status in its answer unset"

    @classmethod
    def parse(cls, given: Sequence[str]) -> Unset:
        nothing(cls.name, given)
        return cls()

    def check(self, method: Method) -> None:
        if method.streams or not set(_FIELDS) & set(method.response.DESCRIPTOR.fields_by_name):
            raise ValueError(f"unset has no meaning for {method}: its answer has no status")

    def answer(self, call: Call, answer: bytes) -> bytes:
        message = call.method.response.FromString(answer)
        for field in _FIELDS:
            if field in message.DESCRIPTOR.fields_by_name:
                message.ClearField(field)
        return message.SerializeToString(deterministic=True)
