"""Copying what the PLEG's thread may be changing at this very moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

T = TypeVar("T")

_ATTEMPTS: Final = 100


def snapshot(read: Callable[[], Iterable[T]]) -> list[T]:
    """A list of what `read()` gives, though another thread changes it.

    Copying a dict's view or a deque takes one step of the interpreter unless garbage collection falls into it; then
    the copy may meet a change ("changed size during iteration"), and the next attempt succeeds.
    """
    for _ in range(_ATTEMPTS):
        try:
            return list(read())
        except RuntimeError:
            continue
    return list(read())
