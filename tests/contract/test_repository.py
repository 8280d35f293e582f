"""House rules that no linter knows: what may stand in the tree, and where time, chance and tasks come from."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("cri", "pleg", "fake_cri")
LONGEST_MODULE = 350
#: Below a home of whoever wrote it, or hosts that only one builder's configuration should name. Written so that this
#: file does not hold them.
UNWANTED = re.compile(
    "|".join(
        (
            r"/root/\w",
            r"/home/\w",
            r"/wor" r"k/\w",
            r"py" r"pi\.org",
            r"python" r"hosted\.org",
            r"(proxy|sum)\.go" r"lang\.org",
        )
    )
)

#: Names that would bind a module to this machine's time, this run's chance, or a task nobody waits for; each with where
#: it may stand all the same. A name that begins with a dot is one of anything's.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "time.time": (),
    "time.time_ns": ("cri/clock.py",),
    "time.monotonic": (),
    "time.monotonic_ns": ("cri/clock.py",),
    "time.perf_counter": (),
    "time.perf_counter_ns": (),
    "time.sleep": (),
    "datetime.datetime.now": (),
    "datetime.datetime.utcnow": (),
    "asyncio.sleep": (),
    ".create_task": (),
    ".ensure_future": (),
    "uuid.uuid1": (),
    "uuid.uuid4": (),
    "os.urandom": (),
    "print": ("pleg/cli/", "fake_cri/cli"),
}
_RANDOM_THAT_IS_SEEDED = "random.Random"


def tracked() -> list[Path]:
    """Every file of the repository; from git where there is one, else what is not plainly built."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    built = {".venv", ".peers", "build", "dist", "__pycache__"}
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not built & set(path.parts) and not path.match("*_pb2.py*") and ".cache" not in str(path)
    ]


def modules(*packages: str) -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in packages]


def test_no_file_names_a_place_of_one_machine_or_a_package_registry() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in UNWANTED.finditer(text)]
    assert found == []


def test_no_module_is_longer_than_one_can_read_at_a_sitting() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_bytes().splitlines()) for path in modules(*PACKAGES)}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_every_module_says_what_it_is_for() -> None:
    everywhere = modules(*PACKAGES, "tests", "benchmarks", "hatch_build.py")
    without = [path for path in everywhere if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert [path.relative_to(ROOT).as_posix() for path in without] == []


def test_time_chance_and_tasks_come_from_where_the_design_says() -> None:
    found = [
        f"{name}:{line}: {used}"
        for path in modules(*PACKAGES)
        for name in [path.relative_to(ROOT).as_posix()]
        for line, used in _names(ast.parse(path.read_text(encoding="utf-8")))
        if _forbidden(used, name)
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "import time as watch\nwatch.time()",
        "from time import time as now\nnow()",
        "from datetime import datetime\ndatetime.now()",
        "import datetime as d\nd.datetime.now()",
        "self.loop.create_task(f())",
        "field(default_factory=time.monotonic_ns)",
        "import random\nrandom.choice(x)",
        "from random import choice\nchoice(x)",
    ],
)
def test_the_search_sees_through_other_names(source: str) -> None:
    assert [used for _, used in _names(ast.parse(source)) if _forbidden(used, "pleg/x.py")]


@pytest.mark.parametrize(
    "source", ["clock.now()", "random.Random(1)", "console.print(1)", "tasks.start_soon(f)", "time"]
)
def test_the_search_leaves_alone_what_is_fine(source: str) -> None:
    assert not [used for _, used in _names(ast.parse(source)) if _forbidden(used, "pleg/x.py")]


def _names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything used, by the name it was imported from."""
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load) and (dotted := _dotted(node)):
            first, dot, rest = dotted.partition(".")
            yield node.lineno, imported.get(first, first) + dot + rest


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{_dotted(value)}.{name}"
    return ""


def _forbidden(used: str, module: str) -> bool:
    if used.startswith("random.") and used != _RANDOM_THAT_IS_SEEDED:
        return True
    return any(
        not module.startswith(allowed or ("nowhere",))
        and (used == name or (name.startswith(".") and used.endswith(name)))
        for name, allowed in FORBIDDEN.items()
    )


def test_a_seeded_random_always_has_its_seed() -> None:
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"
        for path in modules(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _dotted(node.func) in ("random.Random", "Random") and not node.args
    ]
    assert found == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_locks_pin_and_hash_everything_and_name_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    entries = re.split(r"\n(?=[a-z0-9])", text)
    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==[0-9][^ ]*( ;[^\\]+)? \\\n", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_the_development_lock_holds_all_of_the_other_one() -> None:
    pins = [
        set(re.findall(r"^([a-z0-9._-]+==[^ ]+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))
        for lock in ("requirements.lock", "requirements-dev.lock")
    ]
    assert pins[0] < pins[1]
