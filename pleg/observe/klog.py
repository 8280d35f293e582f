"""Log lines as the kubelet writes them: `E1123 18:27:00.123456    4711 generic.go] "message" key="value"`.

Follows k8s.io/klog/v2 (`printS`, internal/serialize/keyvalues.go). A line number is missing, for there is none.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Final

from cri.clock import SECOND, Clock
from pleg.hooks import Hooks

#: From 2 on, a kubelet logs every event that its sync loop reads.
DEFAULT_VERBOSITY: Final = 2

_ESCAPES: Final = {
    '"': r"\"",
    "\\": r"\\",
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
}
_HTML: Final = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"})


class Klog(Hooks):
    """Formats what the hooks are told to log and hands each line, with its newline, to `write`."""

    def __init__(
        self,
        write: Callable[[str], object],
        clock: Clock,
        *,
        verbosity: int = DEFAULT_VERBOSITY,
        tz: tzinfo | None = None,
    ) -> None:
        """`tz` is the time zone of the lines, klog's being the local one (None)."""
        self._write = write
        self._clock = clock
        self._verbosity = verbosity
        self._tz = tz
        self._pid = os.getpid()

    def log(self, severity: str, source: str, message: str, /, v: int = 0, **values: object) -> None:
        if v > self._verbosity and severity == "I":
            return
        seconds, nanoseconds = divmod(self._clock.now(), SECOND)
        header = f"{severity}{_moment(seconds, self._tz)}.{nanoseconds // 1000:06d} {self._pid:7d} {source}]"
        if "err" in values:  # klog has the error first, wherever the caller put it
            values = {"err": values.pop("err"), **values}
        pairs = "".join(f" {key}{_value(value)}" for key, value in values.items())
        self._write(f"{header} {quote(message)}{pairs}\n")


def quote(text: str) -> str:
    """As Go's strconv.Quote."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(map(_escape, text))}"'


def _value(value: object) -> str:
    if isinstance(value, str | BaseException):
        text = str(value)
        if "\n" not in text:
            return f"={quote(text)}"
        lines = "".join(f"\t{line}\n" for line in text.removesuffix("\n").split("\n"))
        return f"=<\n{lines} >"
    return "=" + json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).translate(_HTML)


def _escape(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@functools.lru_cache(maxsize=8)
def _moment(seconds: int, tz: tzinfo | None) -> str:
    return datetime.fromtimestamp(seconds, tz).strftime("%m%d %H:%M:%S")
