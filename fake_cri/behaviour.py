"""How the processes that containers do not have would behave: read from annotations, else the usual.

fake-cri/stop-after: 5s        goes on for 5 s after its stop signal (default: a few milliseconds)
fake-cri/stop-exit-code: "0"   what it then exits with (default: 128 + the signal's number, 143 for SIGTERM)
fake-cri/start-error: TEXT     StartContainer fails with TEXT
fake-cri/missing-command: CMD  its command is not in the image
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from random import Random
from typing import Final

from cri.clock import MILLISECOND
from cri.durations import parse_duration
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb
from fake_cri.objects import STOP_AFTER, STOP_EXIT_CODE, Container

_LEAST_REACTION: Final = 2 * MILLISECOND
_MOST_REACTION: Final = 20 * MILLISECOND


def check(annotations: Mapping[str, str]) -> None:
    """Raises CriError(INVALID_ARGUMENT) where one of these annotations cannot be read."""
    try:
        if STOP_AFTER in annotations:
            parse_duration(annotations[STOP_AFTER])
        if STOP_EXIT_CODE in annotations:
            int(annotations[STOP_EXIT_CODE])
    except ValueError as error:
        text = f"annotation {STOP_AFTER} must be a duration and {STOP_EXIT_CODE} a number: {error}"
        raise CriError(Code.INVALID_ARGUMENT, text) from None


def reaction(container: Container, rng: Random) -> int:
    """How long, in ns, it goes on after its stop signal."""
    text = container.annotation(STOP_AFTER)
    if text is not None:
        return max(1, parse_duration(text))
    return rng.randint(_LEAST_REACTION, _MOST_REACTION)


def stop_exit_code(container: Container) -> int:
    """What it exits with after its stop signal."""
    text = container.annotation(STOP_EXIT_CODE)
    return int(text) if text is not None else 128 + signal_number(container.config.stop_signal)


def signal_number(wanted: pb.Signal.ValueType) -> int:
    """Linux's number of CRI's signal; SIGTERM where none was asked for."""
    name = pb.Signal.Name(wanted).removeprefix("SIGNAL_")
    if name == "RUNTIME_DEFAULT":
        return int(signal.SIGTERM)
    if name.startswith("SIGRTMIN"):
        return int(signal.SIGRTMIN) + int(name.removeprefix("SIGRTMIN").removeprefix("PLUS") or 0)
    if name.startswith("SIGRTMAX"):
        return int(signal.SIGRTMAX) - int(name.removeprefix("SIGRTMAX").removeprefix("MINUS") or 0)
    return int(signal.Signals[name])
