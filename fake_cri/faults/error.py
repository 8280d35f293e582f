"""`error(CODE)`: the call ends with a gRPC code, and the runtime never hears of it."""

from __future__ import annotations

from typing import ClassVar

from cri.transport import Code, CriError
from fake_cri.faults.base import Call, Fault


class Error(Fault):
    """Ends every call with `code`."""

    name: ClassVar[str] = "error"
    usage: ClassVar[str] = "error(CODE)"

    def __init__(self, code: Code) -> None:
        self.code = code

    @classmethod
    def parse(cls, argument: str | None) -> Error:
        choices = ", ".join(code.name.lower() for code in Code if code is not Code.OK)
        name = (argument or "").strip().upper()
        if name == "CANCELED":  # as Go spells it
            name = "CANCELLED"
        if name not in Code.__members__ or name == "OK":
            given = f"error({argument})" if argument is not None else "error"
            raise ValueError(f"{given} needs a gRPC code: choose one of {choices}")
        return cls(Code[name])

    async def before(self, call: Call) -> None:
        raise CriError(self.code, f"injected fault: {call.method} answers {self.code.name}")
