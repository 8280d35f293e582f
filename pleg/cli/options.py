"""The flags that set a node, shared by the commands that have one, and how their text becomes `Settings`.

A flag's name is that of the field of `pleg.kubelet.Settings` with dashes, so that a complaint about a field is one
about the flag.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cri.durations import parse_duration
from pleg.cli.errors import UsageError

if TYPE_CHECKING:
    from pleg.kubelet import Settings


class Design(enum.StrEnum):
    """The four ways to watch a runtime, by their names on the command line."""

    GENERIC = "generic"
    EVENTED = "evented"
    HINTED = "hinted"
    POLLING = "polling"


class StreamLists(enum.StrEnum):
    """Whether lists come as streams."""

    OFF = "off"
    ON = "on"
    AUTO = "auto"


_RELIST: Final = "Relisting (generic, hinted; what evented falls back to)"
_EVENTS: Final = "Runtime events (evented, hinted)"
_OTHER: Final = "Everything else"


def _option(flag: str, help_text: str, panel: str, metavar: str) -> Any:
    return typer.Option(flag, help=help_text, rich_help_panel=panel, metavar=metavar)


def _duration(flag: str, help_text: str, panel: str) -> Any:
    return _option(flag, help_text, panel, "DURATION")


PlegOption = Annotated[
    Design,
    typer.Option(
        "--pleg",
        help="How to learn of changes: generic relists (Kubernetes 1.36), evented follows the runtime's events over a "
        "slow relist (1.26 to 1.36, feature gate EventedPLEG), hinted relists and is hurried by stop events (1.37, the "
        "same gate), polling asks for each pod by itself (1.1).",
    ),
]
RelistPeriod = Annotated[
    str,
    _duration("--relist-period", "Pause after a relist before the next (kubelet: genericPlegRelistPeriod).", _RELIST),
]
RelistThreshold = Annotated[
    str,
    _duration(
        "--relist-threshold",
        "Age of the last good relist beyond which the PLEG is not healthy (kubelet: genericPlegRelistThreshold).",
        _RELIST,
    ),
]
RelistQueue = Annotated[
    int,
    _option(
        "--relist-queue", "Requests for one-pod relists that may wait (kubelet: relistRequests).", _RELIST, "COUNT"
    ),
]
EventedRelistPeriod = Annotated[
    str,
    _duration(
        "--evented-relist-period",
        "Pause between the relists behind evented (kubelet: eventedPlegRelistPeriod).",
        _EVENTS,
    ),
]
EventedRelistThreshold = Annotated[
    str,
    _duration(
        "--evented-relist-threshold",
        "Age of evented's last good relist beyond which the PLEG is not healthy (kubelet: eventedPlegRelistThreshold).",
        _EVENTS,
    ),
]
CacheTick = Annotated[
    str,
    _duration(
        "--cache-tick", "How often evented declares its cache fresh (kubelet: globalCacheUpdatePeriod).", _EVENTS
    ),
]
StreamRetries = Annotated[
    str,
    _option(
        "--stream-retries",
        "Ends of the event stream, in the whole life of the process, after which it is given up (kubelet: "
        "eventedPlegMaxStreamRetries); unlimited needs a --stream-backoff.",
        _EVENTS,
        "COUNT|unlimited",
    ),
]
StreamBackoff = Annotated[
    str,
    _option(
        "--stream-backoff",
        "Pause before the stream is opened again, doubling from the first to the second: 1s..60s (kubelet: none).",
        _EVENTS,
        "DURATION[..DURATION]",
    ),
]
StreamBuffer = Annotated[
    int,
    _option(
        "--stream-buffer",
        "Runtime events that may wait to be processed; more are dropped and counted, never held up (kubelet: 1000, "
        "and held up).",
        _EVENTS,
        "COUNT",
    ),
]
ChannelCapacity = Annotated[
    int,
    _option(
        "--channel-capacity",
        "Pod lifecycle events that may wait for the sync loop; more are discarded (kubelet: plegChannelCapacity).",
        _OTHER,
        "COUNT",
    ),
]
PollPeriod = Annotated[
    str, _duration("--poll-period", "Pause between two looks of polling at a pod (kubelet 1.1: about 10s).", _OTHER)
]
RuntimeRequestTimeout = Annotated[
    str,
    _duration(
        "--runtime-request-timeout", "Deadline of each call to the runtime (kubelet: runtimeRequestTimeout).", _OTHER
    ),
]
StreamListsOption = Annotated[
    StreamLists,
    typer.Option(
        "--stream-lists",
        help="Lists by the Stream* calls: auto begins with them once an answer is too large (kubelet: feature gate "
        "CRIListStreaming, off).",
        rich_help_panel=_OTHER,
    ),
]
Seed = Annotated[int, _option("--seed", "Seed of all choices made by chance, jitter and order.", _OTHER, "NUMBER")]

#: Flags whose values are durations.
_DURATIONS: Final = frozenset(
    {
        "relist_period",
        "relist_threshold",
        "evented_relist_period",
        "evented_relist_threshold",
        "cache_tick",
        "poll_period",
        "runtime_request_timeout",
    }
)


def duration(flag: str, text: str, *, zero: bool = False) -> int:
    """The ns of a flag's value. Raises UsageError; zero and less only pass where `zero` allows 0s."""
    try:
        value = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None
    if value < 0 or (value == 0 and not zero):
        raise UsageError(f"{flag} must be {'0s or more' if zero else 'more than 0s'}, not {text}")
    return value


def stream_retries(text: str) -> int | None:
    """A count, or None for unlimited. Raises UsageError."""
    if text == "unlimited":
        return None
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"--stream-retries is a count such as 5, or unlimited, not {text!r}")
    return int(text)


def stream_backoff(text: str) -> tuple[int, int]:
    """First and longest pause, in ns, of ``0s`` or ``1s..60s``. Raises UsageError."""
    first, dots, longest = text.partition("..")
    begin = duration("--stream-backoff", first, zero=True)
    end = duration("--stream-backoff", longest, zero=True) if dots else begin
    if end < begin:
        raise UsageError(f"--stream-backoff goes from a shorter to a longer pause, as in 1s..60s, not {text}")
    return begin, end


def settings(**flags: Any) -> Settings:
    """Settings from the values of flags, by field. Raises UsageError in the flags' own names."""
    from pleg.kubelet import Settings

    values: dict[str, Any] = {
        name: duration(f"--{name.replace('_', '-')}", value) if name in _DURATIONS else value
        for name, value in flags.items()
    }
    values["stream_retries"] = stream_retries(flags["stream_retries"])
    values["stream_backoff"] = stream_backoff(flags["stream_backoff"])
    try:
        return Settings(**values)
    except ValueError as error:
        names = "|".join(sorted(values, key=len, reverse=True))
        shown = re.sub(rf"\b({names})\b", lambda match: f"--{match[1].replace('_', '-')}", str(error))
        raise UsageError(shown) from None
