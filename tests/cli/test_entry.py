"""What shells and terminals do to either command: closed, full and broken files, and Ctrl-C before it has begun."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cri import _entry

PROGRAMS = {
    "pleg": [sys.executable, "-c", "import sys; from pleg.cli import main; sys.exit(main())"],
    "fake-cri": [sys.executable, "-m", "fake_cri"],
}
#: `exec` so that the closed files are the program's own.
_CLOSED = (">&-", ">&- 2>&-", "<&- >&- 2>&-")
PATIENCE = 30

programs = pytest.mark.parametrize("program", PROGRAMS)


def shell(program: str, arguments: str, files: str = "") -> tuple[int, str]:
    """Exit code and standard error of a command with its files as a shell would have them."""
    line = f'exec "$@" {arguments} {files}'
    run = subprocess.run(
        ["sh", "-c", line, "sh", *PROGRAMS[program]], stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE
    )
    return run.returncode, run.stderr


@programs
@pytest.mark.parametrize("files", _CLOSED)
def test_closed_files_are_harmless(program: str, files: str) -> None:
    assert shell(program, "--version", files) == (0, "")


@pytest.mark.parametrize("files", _CLOSED)
def test_closed_files_are_harmless_to_a_watch(files: str, tmp_path: Path) -> None:
    arguments = f"run --runtime-endpoint {tmp_path}/none.sock --http 127.0.0.1:0 --duration 50ms"
    code, err = shell("pleg", arguments, files)
    assert code == 0
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("program", "arguments", "says"),
    [
        (
            "pleg",
            "run --runtime-endpoint {}/s --http off --events -",
            "pleg run: cannot write events to standard output",
        ),
        ("fake-cri", "serve --listen unix://{}/s --journal -", "fake-cri: cannot write the journal to standard output"),
    ],
)
def test_what_is_asked_of_a_closed_output_is_refused(program: str, arguments: str, says: str, tmp_path: Path) -> None:
    assert shell(program, arguments.format(tmp_path), ">&-") == (1, f"{says}: it is closed\n")


def test_closed_files_are_held_so_that_no_socket_gets_their_number() -> None:
    code = (
        "import os, sys; os.close(0); os.close(1); os.close(2); sys.stdout = sys.stderr = None\n"
        "from cri._entry import hold_standard_files; hold_standard_files()\n"
        "null = os.stat(os.devnull); print(1, file=sys.stderr)\n"
        "sys.exit(sum(os.fstat(number).st_rdev != null.st_rdev for number in range(3)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=PATIENCE).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
@programs
@pytest.mark.parametrize("arguments", ["--help", "--version"])
def test_a_full_output_is_one_sentence(program: str, arguments: str) -> None:
    expected = f"{program}: cannot write to standard output: No space left on device\n"
    assert shell(program, arguments, ">/dev/full") == (1, expected)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
def test_a_full_stderr_leaves_the_exit_code() -> None:
    assert shell("pleg", "--nope", "2>/dev/full")[0] == 2


def test_only_what_a_write_to_the_output_raises_is_told_as_such() -> None:
    assert _entry.output_problem(OSError(errno.ENOSPC, "full")) == "cannot write to standard output: full"
    assert _entry.output_problem(OSError(errno.ENOSPC, "full", "journal")) is None
    assert _entry.output_problem(OSError(errno.ENOENT, "none")) is None


@programs
def test_ctrl_c_while_python_imports_says_nothing(program: str) -> None:
    # The program's own import of typer stands for any of them: there the signal comes.
    code = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"from {'pleg.cli' if program == 'pleg' else 'fake_cri.cli'} import main\n"
        "sys.exit(main())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (run.returncode, run.stdout, run.stderr) == (_entry.INTERRUPTED, "", "")


@pytest.mark.parametrize("module", ["pleg.cli", "fake_cri.cli"])
def test_the_way_to_there_is_short(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'typing', 'typer', 'click', 'asyncio'}} & set(sys.modules)))"
    command = [sys.executable, "-S", "-c", code]  # site may import anything
    root = Path(__file__).parents[2]
    run = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(root)}
    )
    assert run.stdout == "[]\n"


def test_ctrl_c_is_as_it_was_after_the_imports() -> None:
    before = signal.getsignal(signal.SIGINT)
    with _entry.quiet_interrupt():
        pass
    assert signal.getsignal(signal.SIGINT) is before
