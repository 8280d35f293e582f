"""Flags become settings: defaults, values, and what is said of values that make no sense."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from cri.clock import MINUTE, SECOND
from pleg.cli import options
from pleg.cli.errors import UsageError
from pleg.cli.run import run
from pleg.kubelet import Settings

#: The values of `pleg run`'s flags when none is given, for those that are settings.
DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(run).parameters.items()
    if name in Settings.__dataclass_fields__
} | {"pleg": "generic", "stream_lists": "off", "node_name": "localhost"}


def settings(**flags: Any) -> Settings:
    return options.settings(**DEFAULTS | flags)


def test_the_defaults_of_the_flags_are_those_of_the_settings() -> None:
    assert settings() == Settings()


def test_every_setting_has_a_flag() -> None:
    assert DEFAULTS.keys() | {"stream_buffer_drops"} == Settings.__dataclass_fields__.keys()


def test_durations_are_goes() -> None:
    assert settings(relist_period="1m30s").relist_period == 90 * SECOND
    assert options.duration("--duration", "300ms") == 300_000_000


@pytest.mark.parametrize(
    ("text", "attempts"),
    [("5", 5), ("0", 0), ("unlimited", None)],
)
def test_stream_retries(text: str, attempts: int | None) -> None:
    assert options.stream_retries(text) == attempts


@pytest.mark.parametrize(
    ("text", "pauses"),
    [("0s", (0, 0)), ("2s", (2 * SECOND, 2 * SECOND)), ("1s..60s", (SECOND, MINUTE))],
)
def test_stream_backoff(text: str, pauses: tuple[int, int]) -> None:
    assert options.stream_backoff(text) == pauses


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ({"relist_period": "5"}, "--relist-period: '5' is no duration"),
        ({"relist_period": "0s"}, "--relist-period must be more than 0s, not 0s"),
        ({"runtime_request_timeout": "-1s"}, "--runtime-request-timeout must be more than 0s, not -1s"),
        ({"stream_retries": "many"}, "--stream-retries is a count such as 5, or unlimited, not 'many'"),
        ({"stream_retries": "-1"}, "--stream-retries is a count"),
        ({"stream_retries": "unlimited"}, "--stream-retries unlimited needs a --stream-backoff"),
        ({"stream_backoff": "60s..1s"}, "--stream-backoff goes from a shorter to a longer pause"),
        ({"stream_backoff": "1s.."}, "--stream-backoff: '' is no duration"),
        ({"stream_backoff": "-1s"}, "--stream-backoff must be 0s or more, not -1s"),
        ({"channel_capacity": 0}, "--channel-capacity must be at least 1, not 0"),
        ({"relist_queue": -3}, "--relist-queue must be at least 1, not -3"),
        ({"stream_buffer": 0}, "--stream-buffer must be at least 1, not 0"),
    ],
)
def test_nonsense_is_one_sentence_about_the_flag(flags: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings(**flags)
    assert str(caught.value).startswith(complaint)
    assert "_" not in str(caught.value)
