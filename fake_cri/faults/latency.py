"""`latency(D)`: each call waits before it is served, for a fixed time or for one that is drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import ClassVar, Final

from cri.durations import format_duration, parse_duration
from fake_cri.faults.base import Call, Fault
from fake_cri.faults.text import split

#: From two parameters in ns (the second may be 0), chance and the call's turn: a delay in ns, perhaps below 0.
Draw = Callable[[int, int, Random, int], float]


@dataclass(frozen=True, slots=True)
class _Shape:
    parameters: int
    draw: Draw


_SHAPES: Final[Mapping[str, _Shape]] = MappingProxyType(
    {
        "constant": _Shape(1, lambda delay, _, rng, turn: delay),
        "uniform": _Shape(2, lambda least, most, rng, turn: rng.uniform(least, most)),
        "normal": _Shape(2, lambda mean, deviation, rng, turn: rng.gauss(mean, deviation)),
        "exponential": _Shape(1, lambda mean, _, rng, turn: rng.expovariate(1 / mean)),
        "growing": _Shape(2, lambda start, step, rng, turn: start + turn * step),
    }
)
_FORM: Final = re.compile(r"([A-Za-z]+)\s*\((.*)\)", re.DOTALL)
_HELP: Final = (
    "latency needs a duration above 0, as in latency(200ms), or one of uniform(10ms,50ms), normal(100ms,20ms), "
    "exponential(50ms), growing(0s,10ms)"
)


@dataclass(frozen=True)
class Latency(Fault):
    """Adds a delay: the shape's name, and its two parameters in ns."""

    name: ClassVar[str] = "latency"
    usage: ClassVar[str] = "latency(DURATION)"
    summary: ClassVar[str] = (
        "delays each call; also uniform(A,B), normal(MEAN,SD), exponential(MEAN), growing(START,STEP) within"
    )

    shape: str
    first: int
    second: int = 0

    @classmethod
    def parse(cls, given: Sequence[str]) -> Latency:
        if len(given) != 1:
            raise ValueError(_HELP)
        form = _FORM.fullmatch(given[0])
        name, inner = (form[1].lower(), form[2]) if form is not None else ("constant", given[0])
        shape = _SHAPES.get(name)
        if shape is None:
            raise ValueError(f"latency({name}(...)) is unknown: {_HELP}")
        values = [parse_duration(part) for part in split(inner, ",")]
        if len(values) != shape.parameters or min(values) < 0 or max(values) == 0:
            raise ValueError(_HELP)
        first, second = values[0], values[1] if len(values) > 1 else 0
        if name in ("exponential", "normal") and first == 0:
            raise ValueError(_HELP)
        if name == "uniform" and second < first:
            raise ValueError(f"latency({given[0]}) must name the shorter duration first")
        return cls(name, first, second)

    @property
    def arguments(self) -> tuple[str, ...]:
        if self.shape == "constant":
            return (format_duration(self.first),)
        values = (self.first, self.second)[: _SHAPES[self.shape].parameters]
        return (f"{self.shape}({','.join(format_duration(value) for value in values)})",)

    async def before(self, call: Call) -> None:
        delay = round(_SHAPES[self.shape].draw(self.first, self.second, call.rng, call.turn))
        await call.gate.wait(call.clock, call.clock.monotonic() + max(0, delay))
