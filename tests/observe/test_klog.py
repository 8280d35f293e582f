"""Log lines in klog's format: header, quoting, order, verbosity."""

from __future__ import annotations

import os
from datetime import UTC

import pytest

from cri.clock import VIRTUAL_EPOCH, Clock
from pleg.observe.klog import Klog, quote


class Log:
    """Lines of one Klog, without their header."""

    def __init__(self, verbosity: int = 2) -> None:
        self.lines: list[str] = []
        clock = Clock(lambda: 0, wall_base=VIRTUAL_EPOCH + 1_123_456_789)
        self.klog = Klog(self.lines.append, clock, verbosity=verbosity, tz=UTC)

    def say(self, severity: str, message: str, v: int = 0, **values: object) -> str:
        self.klog.log(severity, "generic.go", message, v=v, **values)
        return self.lines[-1].partition("] ")[2] if self.lines else ""


def test_a_line() -> None:
    log = Log()
    log.say("E", "GenericPLEG: Unable to retrieve pods", err=OSError("no"))
    header = f"E0101 00:00:01.123456 {os.getpid():7d} generic.go] "
    assert log.lines == [header + '"GenericPLEG: Unable to retrieve pods" err="no"\n']


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("default/web", '"default/web"'),
        (7, "7"),
        (True, "true"),
        (None, "null"),
        (1.5, "1.5"),
        (["a", "b"], '["a","b"]'),
        ({"ID": "x", "Data": None}, '{"ID":"x","Data":null}'),
        ("<b>&", '"<b>&"'),
        (["<b>"], '["\\u003cb\\u003e"]'),  # Go's JSON does so
        (ValueError('a "b"'), '"a \\"b\\""'),
        ("two\nlines", "<\n\ttwo\n\tlines\n >"),
    ],
)
def test_values(value: object, text: str) -> None:
    assert Log().say("I", "m", key=value) == f'"m" key={text}\n'


def test_the_error_comes_first() -> None:
    assert Log().say("E", "m", pod="a/b", err="bad") == '"m" err="bad" pod="a/b"\n'


def test_verbosity_is_about_information_alone() -> None:
    log = Log(verbosity=2)
    log.say("I", "shown", v=2)
    log.say("I", "hidden", v=4)
    log.say("E", "an error", v=4)
    assert [line.split('"')[1] for line in log.lines] == ["shown", "an error"]


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('say "hi"\\', r'"say \"hi\"\\"'),
        ("a\tb\r\x00\x1b\x7f", r'"a\tb\r\x00\x1b\x7f"'),
        ("größe 世界", '"größe 世界"'),
        ("zero\u200bwidth", r'"zero\u200bwidth"'),
        ("\U000e0001", r'"\U000e0001"'),
    ],
)
def test_quoting_is_goes(text: str, quoted: str) -> None:
    assert quote(text) == quoted
