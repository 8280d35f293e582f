"""`error(CODE)`: the call ends with a gRPC code, and the runtime never hears of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cri.transport import Code, CriError
from fake_cri.faults.base import Call, Fault
from fake_cri.faults.text import written


@dataclass(frozen=True)
class Error(Fault):
    """Ends every call with `code`, and with `text` in place of our own words."""

    name: ClassVar[str] = "error"
    usage: ClassVar[str] = "error(CODE)"
    summary: ClassVar[str] = 'ends the call with a gRPC code; error(CODE,"TEXT") says what in'

    code: Code
    text: str | None = None

    @classmethod
    def parse(cls, given: Sequence[str]) -> Error:
        choices = ", ".join(code.name.lower() for code in Code if code is not Code.OK)
        name = given[0].upper() if given else ""
        if name == "CANCELED":  # as Go spells it
            name = "CANCELLED"
        if name not in Code.__members__ or name == "OK":
            raise ValueError(f"{written('error', given)} needs a gRPC code: choose one of {choices}")
        if len(given) > 2:
            raise ValueError('error takes a code and a text, as in error(unavailable,"shim is gone")')
        return cls(Code[name], given[1] if len(given) == 2 else None)

    @property
    def arguments(self) -> tuple[str, ...]:
        code = self.code.name.lower()
        return (code,) if self.text is None else (code, self.text)

    async def before(self, call: Call) -> None:
        text = f"injected fault: {call.method} answers {self.code.name}" if self.text is None else self.text
        raise CriError(self.code, text)
