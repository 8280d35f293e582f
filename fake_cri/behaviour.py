"""How the processes that containers do not have would behave: read from annotations, else the usual.

fake-cri/exit-after: 2s        ends by itself 2 s after its start, unless stopped or removed first (default: never)
fake-cri/exit-code: "1"        what it then exits with (default: 0)
fake-cri/stop-after: 5s        goes on for 5 s after its stop signal (default: a few milliseconds)
fake-cri/stop-exit-code: "0"   what it then exits with (default: 128 + the signal's number, 143 for SIGTERM)
fake-cri/start-error: TEXT     StartContainer fails with TEXT
fake-cri/missing-command: CMD  its command is not in the image

On a container they are for it, on a sandbox for all of its containers. A kubelet hands a pod's annotations to the
sandbox alone; there a name at the end is for one container: fake-cri/exit-after.setup lets an init container `setup`
finish.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from cri.clock import MILLISECOND
from cri.durations import parse_duration
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb
from fake_cri.objects import EXIT_AFTER, EXIT_CODE, STOP_AFTER, STOP_EXIT_CODE, Container

_LEAST_REACTION: Final = 2 * MILLISECOND
_MOST_REACTION: Final = 20 * MILLISECOND


def check(annotations: Mapping[str, str]) -> None:
    """Raises CriError(INVALID_ARGUMENT) where one of these annotations cannot be read."""
    for key, text in annotations.items():
        known = next((one for one in _READ if key == one or key.startswith(f"{one}.")), None)
        if known is None:
            continue
        try:
            _READ[known](text)
        except ValueError as error:
            wanted = "a duration" if _READ[known] is parse_duration else "a number"
            raise CriError(Code.INVALID_ARGUMENT, f"annotation {key} must be {wanted}: {error}") from None


def _exit_code(text: str) -> int:
    code = int(text)
    if not -(2**31) <= code < 2**31:
        raise ValueError(f"{code} does not fit into 32 bits")
    return code


#: The annotations that are not just text, and what reads them.
_READ: Final[Mapping[str, Callable[[str], int]]] = {
    EXIT_AFTER: parse_duration,
    EXIT_CODE: _exit_code,
    STOP_AFTER: parse_duration,
    STOP_EXIT_CODE: _exit_code,
}


def exit_after(container: Container) -> int | None:
    """How long, in ns, after its start it ends by itself; None for never."""
    text = container.annotation(EXIT_AFTER)
    return max(0, parse_duration(text)) if text is not None else None


def exit_code(container: Container) -> int:
    """What it exits with by itself."""
    return _exit_code(container.annotation(EXIT_CODE) or "0")


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
