"""Clock: integer nanoseconds, a wall time that no step of the system's clock reaches, and text that sorts as time."""

from __future__ import annotations

import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.clock import HOUR, MILLISECOND, MINUTE, SECOND, VIRTUAL_EPOCH, Clock, rfc3339, seconds


def test_wall_time_is_a_fixed_base_plus_the_monotonic_reading() -> None:
    readings = iter([500, 500, 500 + 7, 500 + 7])
    clock = Clock(lambda: next(readings), wall_base=VIRTUAL_EPOCH)
    assert clock.now() == VIRTUAL_EPOCH
    assert clock.monotonic() == 507
    assert clock.now() == VIRTUAL_EPOCH + 7


def test_two_clocks_can_differ_in_wall_time_alone() -> None:
    now = 0
    one, other = (Clock(lambda: now, wall_base=base) for base in (1_000, -5))
    now = 10
    assert (one.now(), other.now(), one.monotonic(), other.monotonic()) == (1_010, 5, 10, 10)


def test_the_machines_clock_does_not_follow_steps_of_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock.real()
    before = clock.now()
    assert abs(before - time.time_ns()) < 5 * SECOND
    monkeypatch.setattr(time, "time_ns", lambda: before + HOUR)
    assert 0 <= clock.now() - before < MINUTE


def test_the_machines_clock_never_goes_back() -> None:
    clock = Clock.real()
    readings = [(clock.monotonic(), clock.now()) for _ in range(1_000)]
    assert readings == sorted(readings)


@pytest.mark.parametrize(("nanoseconds", "expected"), [(0, 0.0), (1, 1e-9), (1_500 * MILLISECOND, 1.5), (HOUR, 3600.0)])
def test_seconds(nanoseconds: int, expected: float) -> None:
    assert seconds(nanoseconds) == expected


@pytest.mark.parametrize(
    ("unix_ns", "text"),
    [
        (VIRTUAL_EPOCH, "2026-01-01T00:00:00.000000000Z"),
        (VIRTUAL_EPOCH + 1, "2026-01-01T00:00:00.000000001Z"),
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
    ],
)
def test_rfc3339(unix_ns: int, text: str) -> None:
    assert rfc3339(unix_ns) == text


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_int64_that_a_runtime_may_answer_has_a_text(unix_ns: int) -> None:
    text = rfc3339(unix_ns)
    if text.endswith("Z"):
        whole, _, nanos = text[:-1].partition(".")
        assert datetime.fromisoformat(whole + "+00:00").timestamp() * SECOND + int(nanos) == pytest.approx(unix_ns)
    else:
        assert text == f"{unix_ns}ns"


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_text_sorts_as_time_does(one: int, other: int) -> None:
    assert (rfc3339(one) < rfc3339(other)) == (one < other)
