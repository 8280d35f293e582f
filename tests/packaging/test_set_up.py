"""The Makefile's own logic, with a Python that only pretends: what is set up when, and never twice.

The stand-in makes "environments" whose python writes each call into a log. What the real tools do with the real locks,
test_wheel.py and every run of `make test` show.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

if shutil.which("make") is None:
    pytest.skip("make is missing", allow_module_level=True)

#: Plays both parts: the interpreter of the machine (`-m venv`), and the one in the environment (`-m pip`, ...).
STAND_IN = """#!/bin/sh
case "$*" in
  *version_info*) exit {too_old};;
  *"import venv"*) exit {no_venv};;
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo venv >>{log}; [ -z "$SLOW" ] || sleep 30;;
  *"pip "*install*) echo "pip ${{*#*install }} user=$PIP_USER target=$PIP_TARGET path=$PYTHONPATH" >>{log}
    [ -z "$SLOW_PIP" ] || sleep 30
    case "$*" in *--editable*) "$0" hatch_build.py;; esac;;
  hatch_build.py) echo generate >>{log}
    for name in api projection; do touch cri/v1/${{name}}_pb2.py cri/v1/${{name}}_pb2.pyi; done;;
  *pytest*) echo pytest >>{log};;
esac
"""


@dataclass
class Tree:
    """A clone's files that the set-up looks at, and a log of what was done in it."""

    root: Path
    log: Path
    python: Path

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", f"PYTHON={self.python}", *arguments],
            cwd=self.root,
            env={**_clean_environment(), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def done(self, *arguments: str, **environment: str) -> list[str]:
        """The first words of what a successful make did."""
        return [line.split()[0] for line in self.done_in_full(*arguments, **environment)]

    def done_in_full(self, *arguments: str, **environment: str) -> list[str]:
        self.log.write_text("")
        result = self.make(*arguments, **environment)
        assert result.returncode == 0, result.stderr
        return self.log.read_text().splitlines()

    def change(self, name: str) -> None:
        """As an editor would. File systems count in milliseconds, and make must see which came later."""
        path, stamp = self.root / name, self.root / ".venv/.dev"
        while path.stat().st_mtime_ns <= stamp.stat().st_mtime_ns:
            path.touch()

    def broken_off(self, word: str, **environment: str) -> None:
        """Ctrl-C once `word` was begun."""
        self.log.write_text("")
        with subprocess.Popen(
            ["make", f"PYTHON={self.python}", "test"],
            cwd=self.root,
            env={**_clean_environment(), **environment},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_heed_interrupts,
        ) as process:
            end = time.monotonic() + 20
            while word not in self.log.read_text() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
            assert process.poll() is None, f"{word} was never begun"
            # More than once, as people do: a shell that is just about to start its child may miss the first.
            while process.poll() is None and time.monotonic() < end:
                os.killpg(process.pid, signal.SIGINT)
                time.sleep(0.1)
            assert process.poll() not in (None, 0)


def _clean_environment() -> dict[str, str]:
    """Without what an outer make or a developer's shell has set."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PIP_", "PYTHON"))
    }


def _heed_interrupts() -> None:
    """What was started in the background may have been told to ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stand_in(path: Path, log: Path, *, too_old: bool = False, no_venv: bool = False) -> Path:
    path.write_text(STAND_IN.format(too_old=int(too_old), no_venv=int(no_venv), log=log))
    path.chmod(0o755)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "clone"
    for name in ("Makefile", "hatch_build.py", "pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        root.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "proto", root / "proto")
    (root / "cri/v1").mkdir(parents=True)
    log = tmp_path / "log"
    log.touch()
    return Tree(root, log, stand_in(tmp_path / "python3", log))


def test_the_first_run_sets_up_and_the_second_only_runs(tree: Tree) -> None:
    first = tree.done("test")
    assert first[:4] == ["venv", "pip", "pip", "generate"]
    assert first[-1] == "pytest"
    for _ in range(3):
        assert tree.done("test") == ["pytest"]


def test_only_hashed_wheels_are_installed(tree: Tree) -> None:
    pips = [line for line in tree.done_in_full("test") if line.startswith("pip")]
    for line, lock in zip(pips[::2], ["requirements.lock", "requirements-dev.lock"], strict=True):
        assert line.startswith(f"pip --require-hashes --only-binary :all: -r {lock} ")
    assert pips[1].startswith("pip --no-deps --no-build-isolation --editable . ")


def test_the_demo_needs_no_test_tools(tree: Tree) -> None:
    (tree.root / ".venv/bin").mkdir(parents=True)
    result = tree.make("demo")
    assert "requirements-dev" not in tree.log.read_text()
    assert result.returncode != 0  # the stand-in installs no pleg
    assert tree.done("test").count("pip") == 1


def test_a_changed_lock_is_installed(tree: Tree) -> None:
    tree.done("test")
    tree.change("requirements-dev.lock")
    assert tree.done("test") == ["pip", "pytest"]
    tree.change("requirements.lock")
    assert tree.done("test") == ["pip", "pip", "generate", "pip", "pytest"]


@pytest.mark.parametrize("gone", ["api_pb2.py", "api_pb2.pyi", "projection_pb2.py", "*_pb2.py*"])
def test_generated_code_comes_back_without_an_installation(tree: Tree, gone: str) -> None:
    tree.done("test")
    for path in (tree.root / "cri/v1").glob(gone):
        path.unlink()
    assert tree.done("test") == ["generate", "pytest"]


def test_changed_contracts_are_generated_without_an_installation(tree: Tree) -> None:
    tree.done("test")
    tree.change("proto/cri/v1/api.proto")
    assert tree.done("test") == ["generate", "pytest"]


def test_ctrl_c_while_the_environment_is_made(tree: Tree) -> None:
    tree.broken_off("venv", SLOW="1")
    assert (tree.root / ".venv/bin/python").exists()
    assert tree.done("test")[0] == "venv"
    assert tree.done("test") == ["pytest"]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_ctrl_c_during_an_installation_is_not_trusted(tree: Tree, lock: str) -> None:
    tree.done("test")
    tree.change(lock)
    tree.broken_off("pip", SLOW_PIP="1")
    assert tree.done("test")[:4] == ["venv", "pip", "pip", "generate"]
    assert tree.done("test") == ["pytest"]


def test_a_tree_that_was_moved_is_set_up_anew(tree: Tree, tmp_path: Path) -> None:
    tree.done("test")
    tree.root = tree.root.rename(tmp_path / "elsewhere")
    assert tree.done("test")[:3] == ["venv", "pip", "pip"]
    assert tree.done("test") == ["pytest"]


def test_an_environment_whose_python_is_gone_is_made_anew(tree: Tree) -> None:
    tree.done("test")
    (tree.root / ".venv/bin/python").unlink()
    assert tree.done("test")[0] == "venv"


def test_a_missing_venv_is_one_line_that_names_the_package(tree: Tree) -> None:
    stand_in(tree.python, tree.log, no_venv=True)
    result = tree.make("test")
    assert result.returncode != 0
    line, *rest = result.stderr.splitlines()
    assert line == "Python's venv is missing: install the package python3-venv"
    assert all(line.startswith("make: ***") for line in rest)
    assert not (tree.root / ".venv").exists()


def test_an_old_python_is_one_line_too(tree: Tree) -> None:
    stand_in(tree.python, tree.log, too_old=True)
    result = tree.make("test")
    assert result.returncode != 0
    assert result.stderr.splitlines()[0] == "Python 3.11 or newer is needed: make PYTHON=python3.X"


def test_a_newer_python_is_found_behind_an_old_one(tree: Tree, tmp_path: Path) -> None:
    old = stand_in(tmp_path / "python3.9", tree.log, too_old=True)
    assert tree.make(f"PYTHON={old} {tmp_path / 'missing'} {tree.python}", "test").returncode == 0


def test_a_users_settings_lead_no_package_elsewhere(tree: Tree) -> None:
    settings = {"PIP_USER": "1", "PIP_TARGET": "/elsewhere", "PYTHONPATH": "/elsewhere", "PIP_REQUIRE_VIRTUALENV": "1"}
    pips = [line for line in tree.done_in_full("test", **settings) if line.startswith("pip")]
    assert len(pips) == 3
    assert all(line.endswith(" user=0 target= path=") for line in pips)


def test_git_is_not_asked(tree: Tree, tmp_path: Path) -> None:
    git = tmp_path / "bin/git"
    git.parent.mkdir()
    git.write_text(f"#!/bin/sh\necho git >>{tree.log}\nexit 1\n")
    git.chmod(0o755)
    assert "git" not in tree.done("test", PATH=f"{git.parent}:{os.environ['PATH']}")


def test_help_sets_nothing_up(tree: Tree) -> None:
    result = tree.make()
    assert result.returncode == 0
    assert "demo " in result.stdout
    assert tree.log.read_text() == ""


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_this_environment_is_what_the_lock_says(lock: str) -> None:
    """So that what was tested is what a user gets."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps", "--quiet"),
            *("--report", "-", "--require-hashes", "-r", str(ROOT / lock)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=_clean_environment(),
    )
    assert result.returncode == 0, result.stderr
    assert '"install": []' in result.stdout
