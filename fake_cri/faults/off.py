"""`off`: the call passes."""

from __future__ import annotations

from typing import ClassVar

from fake_cri.faults.base import Fault


class Off(Fault):
    """Nothing goes wrong."""

    name: ClassVar[str] = "off"
    usage: ClassVar[str] = "off"

    @classmethod
    def parse(cls, argument: str | None) -> Off:
        if argument is not None:
            raise ValueError("off takes nothing in brackets")
        return cls()
