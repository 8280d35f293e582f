"""The public names are pinned: none comes, goes or changes by accident."""

from __future__ import annotations

import importlib
from pathlib import Path

from .public_api import PROMISED, ROOT, modules, public_names

PINNED = Path(__file__).with_name("public-api.txt")


def test_the_public_names_are_the_pinned_ones() -> None:
    pinned, actual = set(PINNED.read_text(encoding="utf-8").split()), set(public_names())
    hint = "if it is meant: python tests/contract/public_api.py > tests/contract/public-api.txt"
    assert (sorted(actual - pinned), sorted(pinned - actual)) == ([], []), hint


def test_every_public_module_can_be_imported() -> None:
    for promised in PROMISED:
        for path in modules(promised):
            parts = path.relative_to(ROOT).with_suffix("").parts
            importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
