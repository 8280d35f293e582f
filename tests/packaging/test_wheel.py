"""A wheel built from a clean checkout holds all that is needed, and runs where no checkout is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from cri import __version__

ROOT = Path(__file__).parents[2]
PACKAGES = ("cri", "pleg", "fake_cri")
#: What no clone has. Not asked of git: the sources may come without it.
NOT_IN_A_CLONE = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*_pb2.py", "*_pb2.pyi", "*.egg-info")


@dataclass(frozen=True)
class Installed:
    """A fresh environment into which nothing but the wheel went; the libraries are lent by the one the tests run in."""

    bin: Path
    elsewhere: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.elsewhere,
            env=_clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clone = tmp_path_factory.mktemp("clone") / "pleg"
    shutil.copytree(ROOT, clone, ignore=NOT_IN_A_CLONE)
    return clone


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    _pip(sys.executable, "wheel", "--no-build-isolation", "--wheel-dir", str(target), str(clone))
    (wheel,) = target.iterdir()
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    home = tmp_path_factory.mktemp("fresh")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin/python"
    _pip(sys.executable, "--python", str(python), "install", "--no-index", str(wheel))
    # Lent through a .pth file: it comes after the wheel's own place, and .pth files there, such as that of this
    # tree's editable install, are not read.
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(home / "bin", tmp_path_factory.mktemp("elsewhere"))


def _pip(python: str, *arguments: str) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments, "--no-deps"]
    result = subprocess.run(command, env=_clean_environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_wheel_holds_the_generated_code_the_data_and_the_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    proto = {path.stem for path in (ROOT / "proto/cri/v1").glob("*.proto")}
    assert {f"cri/v1/{stem}_pb2{suffix}" for stem in proto for suffix in (".py", ".pyi")} <= names
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    profiles = {f"fake_cri/profiles/{path.name}" for path in (ROOT / "fake_cri/profiles").glob("*.yaml")}
    assert profiles
    assert profiles <= names
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]


def test_every_file_of_the_packages_is_in_it_and_nothing_else(clone: Path, wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {
        str(path.relative_to(clone))
        for package in PACKAGES
        for path in (clone / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == files


@pytest.mark.parametrize("command", ["pleg", "fake-cri"])
@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_commands_answer_outside_the_tree(installed: Installed, command: str, option: str) -> None:
    result = installed.run(command, option)
    assert (result.returncode, result.stderr) == (0, "")
    assert (__version__ if option == "--version" else "Usage") in result.stdout


def test_every_module_can_be_imported_outside_the_tree(installed: Installed, wheel: Path) -> None:
    modules = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in zipfile.ZipFile(wheel).namelist()
        if name.endswith(".py") and not name.endswith("__main__.py")
    ]
    code = f"import importlib\nfor name in {modules!r}: print(importlib.import_module(name).__file__)"
    result = installed.run("python", "-c", code)
    assert result.returncode == 0, result.stderr
    home = str(installed.bin.parent)
    assert all(file.startswith(home) for file in result.stdout.splitlines())


def test_a_built_in_runtime_starts_outside_the_tree(installed: Installed) -> None:
    """Its profiles are read from the wheel's data."""
    socket = installed.elsewhere / "cri.sock"
    with subprocess.Popen(
        [installed.bin / "fake-cri", "serve", "--listen", f"unix://{socket}", "--runtime", "cri-o", "--pods", "2"],
        cwd=installed.elsewhere,
        env=_clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout is not None
        try:
            assert str(socket) in server.stdout.readline()
            result = installed.run(
                "pleg",
                "run",
                "--runtime-endpoint",
                f"unix://{socket}",
                "--duration",
                "2s",
                "--http",
                "off",
                "--events",
                "-",
            )
            assert result.returncode == 0, result.stderr
            assert "ContainerStarted" in result.stdout
        finally:
            server.terminate()
        assert server.wait(20) == 0
    assert not socket.exists()
