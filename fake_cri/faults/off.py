"""`off`: the call passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fake_cri.faults.base import Fault
from fake_cri.faults.text import nothing


@dataclass(frozen=True)
class Off(Fault):
    """Nothing goes wrong."""

    name: ClassVar[str] = "off"
    usage: ClassVar[str] = "off"
    summary: ClassVar[str] = "lets the call pass"

    @classmethod
    def parse(cls, given: Sequence[str]) -> Off:
        nothing(cls.name, given)
        return cls()
