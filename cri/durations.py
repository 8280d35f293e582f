"""Go's duration text, both ways: ``3m5.30015447s`` is 185300154470 ns (Go's time package, `Duration.String`)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from cri.clock import HOUR, MICROSECOND, MILLISECOND, MINUTE, SECOND

_UNITS: Final = {
    "ns": 1,
    "us": MICROSECOND,
    "µs": MICROSECOND,
    "μs": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": MINUTE,
    "h": HOUR,
}
_TERM: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_INT64_MAX: Final = 2**63 - 1


def format_duration(nanoseconds: int) -> str:
    """As Go prints a time.Duration: ``0s``, ``1.5ms``, ``3m0s``, ``1h0m5s``; trailing zeros trimmed."""
    if nanoseconds < 0:
        return "-" + format_duration(-nanoseconds)
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < SECOND:
        for unit, size in (("ms", MILLISECOND), ("µs", MICROSECOND), ("ns", 1)):
            if nanoseconds >= size:
                return _decimal(nanoseconds, size) + unit
    hours, rest = divmod(nanoseconds, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    text = f"{hours}h" if hours else ""
    if hours or minutes:
        text += f"{minutes}m"
    return text + _decimal(rest, SECOND) + "s"


def _decimal(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    if not part:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{part:0{digits}d}".rstrip("0")


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration such as ``300ms``, ``1h15m30.918s`` or ``0``.

    Raises ValueError, with a sentence fit for a user, on anything else, and beyond int64 as Go does.
    """
    body = text.strip()
    sign = -1 if body.startswith("-") else 1
    body = body.removeprefix("-") if sign < 0 else body.removeprefix("+")
    if body == "0":
        return 0
    total, position = 0, 0
    for match in _TERM.finditer(body):
        if match.start() != position:
            break
        total += int(Decimal(match[1]) * _UNITS[match[2]])  # Go drops what is below 1 ns, term by term
        position = match.end()
    if not body or position != len(body):
        raise ValueError(f"{text!r} is no duration: write it as in 300ms, 10s, 3m or 1h30m")
    if total > _INT64_MAX + (sign < 0):
        raise ValueError(f"{text!r} is too long for a duration: at most about 292 years")
    return sign * total
