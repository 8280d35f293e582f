"""The command fake-cri, as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

import cri
from cri.methods import METHODS
from cri.v1 import api_pb2 as pb
from fake_cri.cli.commands import RUNTIMES, app
from fake_cri.profiles import built_in_profiles, load_profile

from .support import IMAGE, container_config, sandbox_config

#: What no test waits longer for, in s: only a broken one gets there.
PATIENCE = 30


def invoke(*arguments: str) -> tuple[int, str, str]:
    """Without a process of its own: exit code, standard output, standard error."""
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


class Server:
    """`fake-cri serve` in a process of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fake_cri", "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        assert self._process.stderr is not None
        self.greeting = self._process.stderr.readline()

    def end(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
        self._process.send_signal(how)
        out, err = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, out, err

    def hang_up(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate(timeout=PATIENCE)


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[Server]:
    server = Server(*arguments, **environment)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "s"


def test_version() -> None:
    assert invoke("--version") == (0, f"fake-cri {cri.__version__}\n", "")


def test_help_teaches() -> None:
    code, out, _ = invoke("serve", "--help")
    assert code == 0
    for part in (
        "fake-cri serve --listen unix:///tmp/fake.sock --pods 110 --churn 5/s",
        "'ListContainers: 20*off->hang(30s)->off'",
        "[default: containerd-2.4]",
        "Exit codes: 0",
        "containerd-1.6",
        "fake-cri/exit-after.NAME",
    ):
        assert part in out
    assert "serve" in invoke("--help")[1]


@pytest.mark.parametrize("command", [(), ("serve",), ("profile",)])
def test_help_has_a_short_name(command: tuple[str, ...]) -> None:
    assert invoke(*command, "-h") == invoke(*command, "--help")
    assert invoke(*command, "-h")[0] == 0


def test_help_knows_every_runtime() -> None:
    assert sorted(RUNTIMES) == built_in_profiles()


def test_a_profile_to_copy(tmp_path: Path) -> None:
    code, out, _ = invoke("profile", "cri-o")
    (tmp_path / "mine.yaml").write_text(out)
    assert (code, load_profile(str(tmp_path / "mine.yaml")).runtime) == (0, load_profile("cri-o").runtime)
    code, _, err = invoke("profile", "docker")
    assert code == 2
    assert "no runtime 'docker': choose containerd-1.6" in err


def test_help_loads_nothing_heavy() -> None:
    heavy = "grpc", "google.protobuf", "yaml", "anyio", "rich"
    code = (
        "import sys; from typer.testing import CliRunner; from fake_cri.cli.commands import app;"
        "CliRunner().invoke(app, ['serve', '--help']);"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert run.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing option '--listen'"),
        (["--listen", "/run/x"], "'/run/x' is no address: write unix:///PATH"),
        (["--listen", "unix:///x", "--pods", "-1"], "--pods"),
        (["--listen", "unix:///x", "--pods", "many"], "--pods"),
        (["--listen", "unix:///x", "--churn", "fast"], "'fast' is no rate: write changes per second"),
        (["--listen", "unix:///x", "--churn", "-1"], "'-1' is no rate"),
        (["--listen", "unix:///x", "--churn", "nan"], "'nan' is no rate"),
        (["--listen", "unix:///x", "--runtime", "docker"], "no runtime 'docker': choose containerd-1.6"),
        (["--listen", "unix:///x", "--runtime", "./none.yaml"], "cannot read the profile ./none.yaml"),
        (["--listen", "unix:///x", "--fault", "Nope: off"], "names no rpc of CRI v1"),
        (["--listen", "unix:///x", "--fault", "Version: off->hang"], "never leaves its term"),
        (["--listen", "unix:///x", "--clock-offset", "late"], "'late' is no duration"),
        (["--listen", "unix:///x", "--dead", "-1"], "--dead"),
        (["--listen", "unix:///x", "--entry-bytes", "9999999"], "--entry-bytes"),
        (["--listen", "unix:///x", "--runtime", ""], "--runtime: the name is empty"),
        (["--listen", "unix:///x", "--journal", ""], "--journal: the name is empty"),
        (["--listen", "unix:///x", "--faults", ""], "--faults: the name is empty"),
        (["--listen", "unix:///x", "--wrong"], "No such option"),
    ],
)
def test_wrong_usage(arguments: list[str], says: str) -> None:
    code, out, err = invoke("serve", *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def test_a_life(path: Path, tmp_path: Path) -> None:
    journal = tmp_path / "truth.jsonl"
    arguments = ["--listen", f"unix://{path}", "--pods", "3", "--churn", "200/s", "--journal", str(journal)]
    with serving(*arguments, "--fault", "Status: error(unavailable)") as server:
        assert f"listening on unix://{path} (containerd-2.4, 3 pods x 2 containers, churn 200/s" in server.greeting
        with grpc.insecure_channel(f"unix:{path}") as channel:
            listed: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHODS["ListPodSandbox"].path)
            assert pb.ListPodSandboxResponse.FromString(listed(b"", timeout=PATIENCE)).items
            status: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHODS["Status"].path)
            with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
                status(b"", timeout=PATIENCE)
        code, out, err = server.end()
    lines = journal.read_text().splitlines()
    assert (code, out) == (0, "")
    assert err == f"stopped after {len(lines)} changes; {len(lines)} journal lines are in {journal}\n"
    assert len(lines) >= 15
    assert {tuple(json.loads(line)) for line in lines} == {("time_ns", "uid", "pod", "id", "kind", "old", "new")}
    assert not path.exists()


def test_containers_end_by_themselves(path: Path, tmp_path: Path) -> None:
    journal = tmp_path / "truth.jsonl"
    with serving("--listen", f"unix://{path}", "--journal", str(journal)) as server:
        with grpc.insecure_channel(f"unix:{path}") as channel:

            def call(rpc: str, **fields: Any) -> Any:
                method = METHODS[rpc]
                ask: Any = channel.unary_unary(method.path)
                return method.response.FromString(ask(method.request(**fields).SerializeToString(), timeout=PATIENCE))

            call("PullImage", image=pb.ImageSpec(image=IMAGE))
            pod = sandbox_config()
            pod.annotations["fake-cri/exit-after"] = "1ms"
            sandbox = call("RunPodSandbox", config=pod).pod_sandbox_id
            created = call("CreateContainer", pod_sandbox_id=sandbox, config=container_config())
            call("StartContainer", container_id=created.container_id)
            deadline = time.monotonic() + PATIENCE
            while "CONTAINER_EXITED" not in journal.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.01)
        assert server.end()[0] == 0


def test_a_journal_on_standard_output_and_sigterm(path: Path) -> None:
    with serving("--listen", f"unix://{path}", "--pods", "1", "--containers", "0", "--journal", "-") as server:
        code, out, err = server.end(signal.SIGTERM)
    assert code == 0
    assert json.loads(out)["new"] == "SANDBOX_READY"
    assert err == "stopped after 1 changes; 1 journal lines are in standard output\n"


def test_a_terminal_that_is_closed_ends_it_like_sigterm(path: Path) -> None:
    with serving("--listen", f"unix://{path}") as server:
        code, _, err = server.end(signal.SIGHUP)
    assert (code, err) == (0, "stopped after 0 changes\n")
    assert not path.exists()


def test_nohup_outlives_its_terminal(path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with serving("--listen", f"unix://{path}") as server:
            signal.signal(signal.SIGHUP, before)
            server.hang_up()
            with grpc.insecure_channel(f"unix:{path}") as channel:
                listed: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHODS["ListPodSandbox"].path)
                assert listed(b"", timeout=PATIENCE) == b""
            assert server.end()[0] == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_address_that_cannot_be_had_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fake_cri", "serve", "--listen"]
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for address, sentence in (
            (
                f"tcp://127.0.0.1:{port}",
                f"cannot listen on tcp://127.0.0.1:{port}: the port is taken, choose another one",
            ),
            ("unix:///proc/s", "cannot create the socket /proc/s: check that its folder can be written"),
        ):
            run = subprocess.run([*command, address], capture_output=True, text=True, env=environment, check=False)
            assert (run.returncode, run.stdout, run.stderr) == (1, "", f"fake-cri: {sentence}\n")


def test_what_fails_is_told_in_one_sentence(path: Path, tmp_path: Path) -> None:
    with serving("--listen", f"unix://{path}"):
        code, out, err = invoke("serve", "--listen", f"unix://{path}")
        assert (code, out) == (1, "")
        assert err == f"fake-cri: something listens on {path} already: stop it, or choose another path\n"
    path.unlink(missing_ok=True)
    missing = tmp_path / "none" / "j"
    code, _, err = invoke("serve", "--listen", f"unix://{path}", "--journal", str(missing))
    assert code == 1
    assert err.startswith(f"fake-cri: cannot write the journal {missing}: No such file or directory; name a file")
    code, _, err = invoke("serve", "--listen", f"unix://{tmp_path}/none/s")
    assert code == 1
    assert err == f"fake-cri: the folder {tmp_path}/none does not exist: create it first\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
def test_a_journal_that_cannot_be_written_any_more_ends_it(path: Path) -> None:
    server = Server("--listen", f"unix://{path}", "--pods", "1", "--journal", "/dev/full")
    try:
        _, err = server._process.communicate(timeout=PATIENCE)
    finally:
        server.kill()
    assert server._process.returncode == 1
    said = server.greeting + err
    assert "the journal /dev/full cannot be written (No space left on device): 0 lines are in it" in said
    assert "Traceback" not in said


def test_faults_from_a_file(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("faults:\n  - {rpc: Version, terms: [{do: error, with: [aborted, gone]}]}\n", encoding="utf-8")
    with serving("--listen", f"unix://{path}", "--faults", str(file)), grpc.insecure_channel(f"unix:{path}") as channel:
        version: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHODS["Version"].path)
        with pytest.raises(grpc.RpcError) as caught:
            version(b"", timeout=PATIENCE)
        assert "gone" in str(caught.value)
    file.write_text("faults:\n  - {rpc: Version, terms: [{do: boom}]}\n", encoding="utf-8")
    code, _, err = invoke("serve", "--listen", f"unix://{path}", "--faults", str(file))
    assert code == 2
    assert "line 2" in err
