"""The letters of the one-line syntax: words in brackets, quoted texts, and where they end."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

#: A quoted text as JSON writes it.
QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_PIECE: Final = re.compile(rf"{QUOTED}|->|[(),]|[^\"(),-]+|.", re.DOTALL)
_PLAIN: Final = re.compile(r"[\w./:+*-]+(?:\([\w.,+-]*\))?")


def split(text: str, separator: str) -> list[str]:
    """The parts between separators (`->` or `,`) that stand outside quotes and brackets, stripped.

    Raises ValueError where a quote or a bracket is left open.
    """
    parts, depth = [""], 0
    for piece in _PIECE.findall(text):
        if piece == separator and depth == 0:
            parts.append("")
            continue
        depth += (piece == "(") - (piece == ")")
        if piece == '"' or depth < 0:
            break
        parts[-1] += piece
    else:
        if depth == 0:
            return [part.strip() for part in parts]
    raise ValueError(f"{text!r} has a quote or a bracket without its other half")


def unquote(text: str) -> str:
    """The text itself, or what stands in its quotes. Raises ValueError where those cannot be read."""
    if not text.startswith('"'):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        raise ValueError(f"{text} is no quoted text: write it as JSON does") from None
    return str(value)


def quote(text: str) -> str:
    """As it is where `unquote` and `split` leave it so, else in quotes."""
    return text if _PLAIN.fullmatch(text) and "->" not in text else json.dumps(text, ensure_ascii=False)


def arguments(text: str | None) -> tuple[str, ...]:
    """What stands in brackets, one by one; none without brackets."""
    return () if text is None else tuple(unquote(part) for part in split(text, ","))


def written(name: str, given: Sequence[str]) -> str:
    """`name(given, ...)`."""
    return f"{name}({', '.join(quote(part) for part in given)})" if given else name


def nothing(name: str, given: Sequence[str]) -> None:
    """Raises ValueError where anything stands in brackets."""
    if given:
        raise ValueError(f"{name} takes nothing in brackets")
