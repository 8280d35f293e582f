"""The command line as a whole: help, version, exit codes, completion, and how little it takes to answer."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import typing

import pytest

from cri import __version__
from pleg.cli import COMMANDS, main
from pleg.cli.run import run

#: Modules that take long to import, or bring what does.
HEAVY = ("anyio", "grpc", "google.protobuf", "prometheus_client", "pydantic", "rich", "starlette", "uvicorn", "yaml")


def stderr_of(args: list[str], capsys: pytest.CaptureFixture[str], exit_code: int) -> str:
    assert main(args) == exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(f" {name} {what}" in text for name, (_, what) in COMMANDS.items())
    assert "pleg run --help" in text


def test_nothing_asked_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pleg {__version__}\n"


def test_every_flag_of_run_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    text = capsys.readouterr().out
    for name in inspect.signature(run).parameters:
        if name != "verbosity":
            assert f"--{name.replace('_', '-')} " in text
    for hint in typing.get_type_hints(run, include_extras=True).values():
        for option in getattr(hint, "__metadata__", ()):
            assert option.help
    assert text.count("DURATION") >= 9
    for constant in ("genericPlegRelistPeriod", "eventedPlegMaxStreamRetries", "plegChannelCapacity"):
        assert constant in text


def test_every_command_can_be_imported() -> None:
    for name in COMMANDS:
        assert main([name, "--help"]) == 0


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["rnu"], "pleg: no such command 'rnu' (see pleg --help)\n"),
        (["--nope"], "pleg: no such option: --nope (see pleg --help)\n"),
        (["run", "--nope"], "pleg run: no such option: --nope "),
        (["run", "--seed", "x"], "pleg run: invalid value for '--seed': "),
        (["run", "--pleg", "x"], "pleg run: invalid value for '--pleg': 'x' is not one of 'generic', 'evented', "),
        (["run", "-v", "11"], "pleg run: invalid value for '--v' / '-v': "),
        (["run", "--relist-period", "x"], "pleg run: --relist-period: 'x' is no duration: "),
        (["run", "--duration", "0s"], "pleg run: --duration must be more than 0s, not 0s "),
        (["run", "--runtime-endpoint", "x"], "pleg run: --runtime-endpoint: 'x' is no runtime endpoint: "),
        (["run", "--runtime-endpoint", "/x", "--http", "x"], "pleg run: --http: 'x' is no address: "),
    ],
)
def test_wrong_usage_is_one_sentence_and_2(args: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = stderr_of(args, capsys, 2)
    assert text.startswith(complaint)
    assert text.endswith("--help)\n")
    assert text.count("\n") == 1


def test_without_an_endpoint_the_usual_sockets_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONTAINER_RUNTIME_ENDPOINT", raising=False)
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/run/crio/crio.sock")
    assert "here there is /run/crio/crio.sock (see" in stderr_of(["run"], capsys, 2)
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert "none is at /run/containerd/containerd.sock, " in stderr_of(["run"], capsys, 2)


def test_the_endpoint_is_read_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTAINER_RUNTIME_ENDPOINT", "nonsense")
    assert "--runtime-endpoint: 'nonsense' is no runtime endpoint" in stderr_of(["run"], capsys, 2)


def test_events_that_cannot_be_written_are_1(capsys: pytest.CaptureFixture[str]) -> None:
    text = stderr_of(["run", "--runtime-endpoint", "/x", "--http", "off", "--events", "/nope/events"], capsys, 1)
    assert text == "pleg run: cannot write events to /nope/events: No such file or directory\n"


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["run", "--help"]])
def test_an_answer_imports_next_to_nothing(args: list[str]) -> None:
    script = (
        "import sys; from pleg.cli import main; "
        f"code = main(sys.argv[1:]); print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=True)
    # typer looks at the values of a group by way of pydantic, if that is there.
    assert set(done.stderr.strip("[]\n").replace("'", "").split(", ")) <= {"", "pydantic"}


def test_shells_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = os.environ | {
        "_PLEG_COMPLETE": "complete_bash",
        "COMP_WORDS": "pleg run --evented-relist-p",
        "COMP_CWORD": "2",
    }
    script = "import sys; sys.argv[1:] = []; from pleg.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["--evented-relist-period"]
