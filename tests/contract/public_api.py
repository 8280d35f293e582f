"""The public names: what modules define without an underscore, read from the source.

After a change that is meant, write them anew: ``python tests/contract/public_api.py > tests/contract/public-api.txt``
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Whose names are promised: packages with all their modules, and modules of the two halves.
PROMISED = (
    "cri",
    "fake_cri/faults/__init__.py",
    "fake_cri/in_memory.py",
    "fake_cri/journal.py",
    "fake_cri/profiles/__init__.py",
    "fake_cri/runtime.py",
    "fake_cri/workload.py",
    "pleg/cache.py",
    "pleg/channel.py",
    "pleg/hooks.py",
    "pleg/kubelet.py",
    "pleg/lifecycle.py",
    "pleg/pods.py",
    "pleg/simulation/run.py",
)


def public_names() -> list[str]:
    return sorted(name for promised in PROMISED for path in modules(promised) for name in _names(path))


def modules(promised: str) -> list[Path]:
    """Every public module that somebody wrote."""
    if promised.endswith(".py"):
        return [ROOT / promised]
    found = sorted((ROOT / promised).rglob("*.py"))
    return [path for path in found if path.name == "__init__.py" or not _hidden(path.relative_to(ROOT))]


def _hidden(path: Path) -> bool:
    return path.stem.endswith("_pb2") or any(part.startswith("_") for part in path.parts)


def _names(path: Path) -> Iterator[str]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    for name in _defined(ast.parse(path.read_text(encoding="utf-8")).body):
        if not name.startswith("_") or name == "__version__":
            yield f"{module}.{name}"


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name
                for member in _defined(statement.body):
                    if not member.startswith("_"):
                        yield f"{name}.{member}"
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar" | "TypeVarTuple" | "ParamSpec"))):
                pass
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name}\n" for name in public_names()))
