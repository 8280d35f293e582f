"""Go's duration text: what real kubelets printed, what Go's own parser takes and refuses, and back again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.clock import HOUR, MICROSECOND, MILLISECOND, MINUTE, SECOND
from cri.durations import format_duration, parse_duration

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

#: Printed by Go programs, kubelets among them.
PRINTED = [
    (0, "0s"),
    (1, "1ns"),
    (999, "999ns"),
    (MICROSECOND, "1µs"),
    (1_100, "1.1µs"),
    (999_999, "999.999µs"),
    (MILLISECOND, "1ms"),
    (1_500_000, "1.5ms"),
    (2_200_000, "2.2ms"),
    (999_999_999, "999.999999ms"),
    (SECOND, "1s"),
    (3_300 * MILLISECOND, "3.3s"),
    (SECOND + 1, "1.000000001s"),
    (MINUTE, "1m0s"),
    (3 * MINUTE, "3m0s"),
    (10 * MINUTE, "10m0s"),
    (HOUR, "1h0m0s"),
    (HOUR + 5 * SECOND, "1h0m5s"),
    (4 * HOUR + 5 * MINUTE + SECOND + 50 * MILLISECOND, "4h5m1.05s"),
    (187_600 * MILLISECOND, "3m7.6s"),
    (185_300_154_470, "3m5.30015447s"),
    (9_192_704_970_756, "2h33m12.704970756s"),
    (58_670_791_825_508, "16h17m50.791825508s"),
    (-28_818 * SECOND, "-8h0m18s"),
    (-1, "-1ns"),
    (INT64_MAX, "2562047h47m16.854775807s"),
    (INT64_MIN, "-2562047h47m16.854775808s"),
]


@pytest.mark.parametrize(("nanoseconds", "text"), PRINTED)
def test_what_go_prints(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text
    assert parse_duration(text) == nanoseconds


@given(st.integers(INT64_MIN, INT64_MAX))
def test_every_duration_comes_back(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("+0", 0),
        ("5s", 5 * SECOND),
        ("+5s", 5 * SECOND),
        ("-5s", -5 * SECOND),
        ("1m", MINUTE),
        ("300ms", 300 * MILLISECOND),
        ("1.5h", 90 * MINUTE),
        (".5s", 500 * MILLISECOND),
        ("1.s", SECOND),
        ("1h15m30.918s", HOUR + 15 * MINUTE + 30_918 * MILLISECOND),
        ("10s1h", HOUR + 10 * SECOND),
        ("5s5s", 10 * SECOND),
        ("1us", MICROSECOND),
        ("1µs", MICROSECOND),
        ("1μs", MICROSECOND),
        ("0.5ns", 0),
        ("0.5ns0.5ns", 0),
        ("0.3333333333333333333h", 20 * MINUTE - 1),
        ("9223372036854775807ns", INT64_MAX),
        ("-9223372036854775808ns", INT64_MIN),
        (" 1s ", SECOND),
    ],
)
def test_what_go_reads(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "3", "-", "+", "s", ".", ".s", "-.s", "--1s", "+-1s", "1d", "1S", "1 s", "1m 2s", "1e3s", "x1s", "1sx"],
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration: write it as in 300ms, 10s, 3m or 1h30m") as raised:
        parse_duration(text)
    assert str(raised.value).startswith(repr(text))


@pytest.mark.parametrize("text", ["1,5s", "١s", "1m2", "infs", "nan"])
def test_neither_are_these(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9223372036854775808ns", "-9223372036854775809ns", "2562048h", "1" + 40 * "0" + "s"])
def test_what_is_longer_than_go_can_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is too long for a duration: at most about 292 years"):
        parse_duration(text)
