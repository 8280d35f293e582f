"""Ids as runtimes make them, 64 hex digits, and the prefixes of ids that they accept in their place."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from random import Random
from typing import Generic, TypeVar

from cri.transport import Code, CriError

T = TypeVar("T")


class AmbiguousId(LookupError):
    """The prefix fits more than one id."""


def new_id(rng: Random) -> str:
    """64 lower-case hex digits."""
    return rng.randbytes(32).hex()


class IdIndex(Generic[T]):
    """Objects by id, in the order in which they were added, and found by any unique prefix of their id."""

    def __init__(self) -> None:
        self._objects: dict[str, T] = {}
        self._sorted: list[str] = []

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        return iter(self._objects.values())

    def __contains__(self, full_id: str) -> bool:
        return full_id in self._objects

    def get(self, full_id: str) -> T | None:
        """By the whole id only."""
        return self._objects.get(full_id)

    def add(self, full_id: str, value: T) -> None:
        self._objects[full_id] = value
        insort(self._sorted, full_id)

    def remove(self, full_id: str) -> None:
        del self._objects[full_id]
        del self._sorted[bisect_left(self._sorted, full_id)]

    def find(self, prefix: str) -> T | None:
        """The object whose id begins with `prefix`; None when there is none. Raises AmbiguousId."""
        whole = self._objects.get(prefix)
        if whole is not None or not prefix:
            return whole
        at = bisect_left(self._sorted, prefix)
        if at == len(self._sorted) or not self._sorted[at].startswith(prefix):
            return None
        if at + 1 < len(self._sorted) and self._sorted[at + 1].startswith(prefix):
            raise AmbiguousId(prefix)
        return self._objects[self._sorted[at]]

    def resolve(self, kind: str, reference: str, *, empty: Code, ambiguous: Code, unknown: Code) -> T | None:
        """As `find`, for a request: raises CriError with these codes; where `unknown` is OK, None is an answer."""
        looking = f"an error occurred when try to find {kind}"
        if not reference:
            raise CriError(empty, f"{looking}: prefix can't be empty")
        try:
            found = self.find(reference)
        except AmbiguousId:
            text = f"{looking}: multiple IDs found with provided prefix: {reference}"
            raise CriError(ambiguous, text) from None
        if found is None and unknown is not Code.OK:
            raise CriError(unknown, f'{looking} "{reference}": not found')
        return found
