"""List answers, joined from serialized entries that are kept and renewed only when their object changes.

An entry stands as the bytes it takes within the answer: the tag of repeated field 1, its length, and itself. So an
answer is the entries' bytes one after the other, for the unary lists and the Stream* lists alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Final, Literal

Order = Literal["random", "newest-first", "creation"]

_FIELD_1: Final = b"\x0a"
_GROUP: Final = 8


def frame(tag: bytes, payload: bytes) -> bytes:
    """A length-delimited field as it stands on the wire."""
    return tag + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    """Protobuf's base-128 number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def map_entries(field: int, pairs: Mapping[str, str], *, backwards: bool = False) -> bytes:
    """A map<string, string> in the order of its keys, or against it: the wire promises none."""
    tag = varint(field << 3 | 2)
    return b"".join(
        frame(tag, frame(b"\x0a", key.encode()) + frame(b"\x12", pairs[key].encode()))
        for key in sorted(pairs, reverse=backwards)
    )


class Entries:
    """The kept entries of one kind of object, in the order of their creation."""

    def __init__(self, order: Order, rng: Random, *, twins: bool) -> None:
        """`twins`: entries come in two spellings of equal meaning, and no two answers shall have equal bytes."""
        self._order = order
        self._rng = rng
        self._twins = twins
        self._chunks: dict[str, tuple[bytes, bytes]] = {}
        self._ordered: tuple[list[bytes], list[bytes]] | None = None
        self._groups: list[bytes] | None = None
        self._whole: bytes | None = None

    def put(self, full_id: str, entry: bytes, twin: bytes) -> None:
        """Keep or renew the entry of one object; renewing does not change its place."""
        self._chunks[full_id] = (frame(_FIELD_1, entry), frame(_FIELD_1, twin))
        self._forget()

    def drop(self, full_id: str) -> None:
        del self._chunks[full_id]
        self._forget()

    def _forget(self) -> None:
        self._ordered = self._groups = self._whole = None

    def all(self) -> bytes:
        """The answer without a filter."""
        if self._order == "random" and len(self._chunks) > 32 * _GROUP:
            # Neighbours in a Go map's table stay neighbours when it is walked: here groups of eight, which also
            # makes the shuffle of thousands cheap.
            if self._groups is None:
                chunks = self._list()[0]
                self._groups = [b"".join(chunks[at : at + _GROUP]) for at in range(0, len(chunks), _GROUP)]
            self._rng.shuffle(self._groups)
            return b"".join(self._groups)
        if self._order != "random" and not self._twins:
            if self._whole is None:
                self._whole = b"".join(self._list()[0])
            return self._whole
        return b"".join(self._pick(self._list()))

    def some(self, ids: Iterable[str]) -> list[bytes]:
        """The chunks of these objects, given in the order of creation, in this list's order."""
        chosen = [self._chunks[full_id] for full_id in ids]
        if self._order == "newest-first":
            chosen.reverse()
        return self._pick(([first for first, _ in chosen], [second for _, second in chosen]))

    def chunks(self) -> list[bytes]:
        """All chunks in this list's order."""
        return self._pick(self._list())

    def _list(self) -> tuple[list[bytes], list[bytes]]:
        if self._ordered is None:
            chosen = list(self._chunks.values())
            if self._order == "newest-first":
                chosen.reverse()
            self._ordered = [first for first, _ in chosen], [second for _, second in chosen]
        return self._ordered

    def _pick(self, spellings: tuple[list[bytes], list[bytes]]) -> list[bytes]:
        chunks = spellings[0]
        if self._twins and chunks:
            cut = self._rng.randrange(len(chunks) + 1)
            chunks = spellings[0][:cut] + spellings[1][cut:]
        if self._order == "random":
            chunks = chunks[:]
            self._rng.shuffle(chunks)
        return chunks
