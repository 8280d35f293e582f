"""The kubelet's own CRI client over fake-cri: every call that is built, its answer, and its error codes by runtime.

The same calls go to a real containerd 2.4 and 1.6, and one set of expectations holds for the fake and the real one:
what is expected of a fake has been seen of the runtime that it stands for. Where runtimes differ, a table says so.
CRI-O cannot be had here; its column is from its source and from watching it elsewhere.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .bench_programs import FakeCri
from .daemons import CONTAINERD_1_6, CONTAINERD_2, Containerd, Version
from .images import IMAGE
from .needs import need, need_containerd
from .processes import PEERS, Program

CLIENT = PEERS / "cri-client"

CONTAINERD = ("containerd-2.4", "containerd-1.7", "containerd-1.6")
CRI_O = ("cri-o", "cri-o-noevents")
FAKES = [*CONTAINERD, *CRI_O]
REAL = {
    "real containerd 2.4.2": ("containerd-2.4", CONTAINERD_2),
    "real containerd 1.6": ("containerd-1.6", CONTAINERD_1_6),
}
#: Runtimes whose clients may list through streams without falling back.
STREAMING = ("containerd-2.4", "cri-o")
WITH_EVENTS = ("containerd-2.4", "containerd-1.7", "cri-o")


@dataclass(frozen=True)
class Call:
    """One line of the client: a call, and how it ended."""

    code: str
    message: str
    answer: Any


class Calls:
    """One run of the client over one runtime."""

    def __init__(self, runtime: str, real: bool, output: str, log: str) -> None:
        self.runtime = runtime
        self.real = real
        self.log = log
        self.calls: dict[tuple[str, str], Call] = {}
        self.events: list[dict[str, Any]] = []
        for line in map(json.loads, output.splitlines()):
            call = Call(line["code"], line.get("message", ""), line.get("answer"))
            if line["call"] == "event":
                self.events.append(call.answer)
            else:
                key = line["call"], line["case"]
                assert key not in self.calls, f"made twice: {key}"
                self.calls[key] = call

    def __getitem__(self, key: tuple[str, str]) -> Call:
        return self.calls[key]

    def ok(self, name: str, case: str = "") -> Any:
        """The answer of a call that ended with OK."""
        call = self[name, case]
        assert call.code == "OK", f"{name} ({case}): {call.code}: {call.message}"
        return call.answer

    def listed(self, name: str, case: str) -> list[str]:
        """The names in a list's answer, sorted: no order is promised."""
        return sorted(item["metadata"]["name"] for item in self.ok(name, case))


@contextmanager
def fake(runtime: str, folder: Path) -> Iterator[tuple[str, Program]]:
    """A fake that behaves as the runtime does; its endpoint."""
    running = FakeCri(folder / "fake.sock", "--runtime", runtime)
    try:
        yield running.endpoint, running.program
    finally:
        running.program.stop()


@contextmanager
def real(version: Version, folder: Path) -> Iterator[tuple[str, Program]]:
    """The runtime itself; its endpoint."""
    need_containerd(version)
    daemon = Containerd(version, folder)
    try:
        yield daemon.endpoint, daemon.program
    finally:
        daemon.close()


def only(*runtimes: str, real: bool = True) -> pytest.MarkDecorator:
    """Runs a test where it means something: over these runtimes, the real ones that they stand for included."""
    chosen = [name for name in FAKES if name in runtimes]
    chosen += [name for name, (stands_for, _) in REAL.items() if real and stands_for in runtimes]
    return pytest.mark.parametrize("calls", chosen, indirect=True, scope="module")


@pytest.fixture(scope="module", params=[*FAKES, *REAL])
def calls(request: pytest.FixtureRequest) -> Calls:
    """The client's run over a runtime."""
    need("k8s.io/cri-client", CLIENT)
    runtime, version = REAL.get(request.param, (request.param, None))
    # A real runtime has no registry to pull from and no CNI here, and writes logs.
    flags = [] if version is None else ["--image", IMAGE, "--host-network", "--logs", "{folder}/logs"]
    with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with real(version, folder) if version else fake(runtime, folder) as (endpoint, program):
            command = [str(CLIENT), "--endpoint", endpoint, *(flag.format(folder=folder) for flag in flags)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
            program.check_alive()
            assert done.returncode == 0, f"{done.stderr}\n{program.tail}"
    return Calls(runtime, version is not None, done.stdout, done.stderr)


#: Calls that end with another code than OK: the code for containerd, and for CRI-O. None: an error, whichever.
FAILURES: dict[tuple[str, str], tuple[str | None, str | None]] = {
    ("PullImage", "malformed"): (None, None),
    ("PodSandboxStatus", "unknown"): ("NotFound", "NotFound"),
    ("PodSandboxStatus", "empty id"): ("Unknown", "NotFound"),
    ("PodSandboxStatus", "removed"): ("NotFound", "NotFound"),
    ("RunPodSandbox", "same name"): ("FailedPrecondition", "OK"),
    ("RunPodSandbox", "unknown handler"): ("Unknown", "Unknown"),
    ("CreateContainer", "unknown sandbox"): ("NotFound", "Unknown"),
    ("CreateContainer", "sandbox not ready"): ("Unknown", "Unknown"),
    ("CreateContainer", "image not present"): ("NotFound", None),
    ("CreateContainer", "same name"): ("FailedPrecondition", "OK"),
    ("ContainerStatus", "unknown"): ("NotFound", "NotFound"),
    ("ContainerStatus", "removed"): ("NotFound", "NotFound"),
    ("ContainerStatus", "removed with its sandbox"): ("NotFound", "NotFound"),
    ("CreateContainer", "no such command"): ("OK", None),
    ("PodSandboxStatus", "removed while running"): ("NotFound", "NotFound"),
    ("StopPodSandbox", "empty id"): ("Unknown", "NotFound"),
    ("StopContainer", "empty id"): ("Unknown", "NotFound"),
    ("RemoveContainer", "empty id"): ("Unknown", "NotFound"),
    ("ReopenContainerLog", "unknown"): ("NotFound", "Unknown"),
    ("ReopenContainerLog", "created"): ("Unknown", "Unknown"),
    ("ReopenContainerLog", "exited"): ("Unknown", "Unknown"),
    ("UpdateContainerResources", "unknown"): ("NotFound", "Unknown"),
    ("UpdateContainerResources", "exited"): ("OK", None),
    ("StartContainer", "unknown"): ("NotFound", "NotFound"),
    ("StartContainer", "no such command"): (None, None),
    ("StartContainer", "running"): ("Unknown", "Unknown"),
    ("StartContainer", "exited"): ("Unknown", "Unknown"),
}

#: What one version answers otherwise than its family.
EXCEPTIONS: dict[str, dict[tuple[str, str], str]] = {
    "containerd-1.6": {
        ("RuntimeConfig", ""): "Unimplemented",
        ("RunPodSandbox", "same name"): "Unknown",
        ("CreateContainer", "same name"): "Unknown",
        ("CreateContainer", "sandbox not ready"): "NotFound",
        ("StopContainer", "unknown"): "NotFound",
        ("StopPodSandbox", "unknown"): "NotFound",
        ("GetContainerEvents", "open"): "Unimplemented",
    },
    "cri-o-noevents": {("GetContainerEvents", "open"): "EOF"},
}

IMAGE_CALLS = ("PullImage", "ImageStatus", "ListImages", "StreamImages", "ImageFsInfo", "RemoveImage")
UNBUILT = (
    "ExecSync", "Exec", "Attach", "PortForward", "ContainerStats", "ListMetricDescriptors",
    "CheckpointContainer", "CheckpointPod",
)  # fmt: skip


def test_every_call_ends_with_the_code_of_its_runtime(calls: Calls) -> None:
    wrong = []
    exceptions = EXCEPTIONS.get(calls.runtime, {})
    for key, call in calls.calls.items():
        name, case = key
        wanted: str | None = "Unimplemented" if name in UNBUILT else "OK"
        if key in FAILURES:
            wanted = FAILURES[key][calls.runtime in CRI_O]
        wanted = exceptions.get(key, wanted)
        if call.code == "OK" if wanted is None else call.code != wanted:
            wrong.append(f"{name} ({case}): {call.code} {call.message!r}, not {wanted or 'an error'}")
    assert wrong == []
    not_made = {("StartContainer", "no such command")} if calls.runtime in CRI_O else set()
    assert {key for key in FAILURES if key[0] not in IMAGE_CALLS} - calls.calls.keys() <= not_made


@only(*FAKES, real=False)
def test_an_rpc_that_is_not_built_names_itself(calls: Calls) -> None:
    for name in UNBUILT:
        assert name in calls[name, ""].message


def test_a_refused_start_names_the_state(calls: Calls) -> None:
    assert "running" in calls["StartContainer", "running"].message.lower()
    assert "exited" in calls["StartContainer", "exited"].message.lower()


def test_a_failure_about_an_id_names_it(calls: Calls) -> None:
    for name in ("ContainerStatus", "StartContainer"):
        assert "f" * 64 in calls[name, "unknown"].message


@only(*CRI_O)
def test_a_second_create_with_one_name_finds_the_first_on_cri_o(calls: Calls) -> None:
    for name in ("RunPodSandbox", "CreateContainer"):
        assert calls.ok(name, "same name") == calls.ok(name)


def test_the_runtime_introduces_itself(calls: Calls) -> None:
    version = calls.ok("Version")
    assert (version["version"], version["runtime_api_version"]) == ("0.1.0", "v1")
    assert version["runtime_name"] == ("cri-o" if calls.runtime in CRI_O else "containerd")
    assert version["runtime_version"]
    for case in ("", "verbose"):
        answer = calls.ok("Status", case)
        conditions = {condition["type"]: condition["status"] for condition in answer["status"]["conditions"]}
        assert conditions["RuntimeReady"]
        assert conditions["NetworkReady"] or calls.real
    assert calls.ok("Status")["info"] == {}
    if calls.runtime in STREAMING:
        assert "" in [handler["name"] for handler in calls.ok("Status")["runtime_handlers"]]
    if calls.runtime != "containerd-1.6":
        assert calls.ok("RuntimeConfig")["linux"]["cgroup_driver"] in ("CGROUPFS", "SYSTEMD")


@only(*FAKES, real=False)
def test_images(calls: Calls) -> None:
    assert calls.ok("ImageStatus", "not pulled")["image"] is None
    image_id = calls.ok("PullImage")
    assert re.fullmatch("[0-9a-f]{64}" if calls.runtime in CRI_O else "sha256:[0-9a-f]{64}", image_id)
    assert calls.ok("PullImage", "again") == image_id
    image = calls.ok("ImageStatus", "by name")["image"]
    assert image["id"] == image_id
    assert image["repo_tags"] == ["registry.test/library/peer:1.0"]
    assert len(image["repo_digests"]) == 1
    assert image["repo_digests"][0].startswith("registry.test/library/peer@sha256:")
    assert int(image["size"]) > 0
    # An image has a user id or a user name, never both.
    assert image["uid"] is None or image["username"] == ""
    for case in ("verbose", "by id", "by digest"):
        assert calls.ok("ImageStatus", case)["image"] == image
    assert calls.ok("ImageStatus", "by name")["info"] == {}
    assert calls.ok("ListImages") == [image]
    assert calls.ok("StreamImages") == [image]
    assert calls.ok("ImageStatus", "removed")["image"] is None
    usage = calls.ok("ImageFsInfo")
    assert bool(usage["container_filesystems"]) == (calls.runtime in CRI_O)
    for filesystem in usage["image_filesystems"] + usage["container_filesystems"]:
        assert int(filesystem["timestamp"]) > 0
        assert filesystem["fs_id"]["mountpoint"].startswith("/")
        assert filesystem["used_bytes"] is not None


def test_a_sandbox_keeps_what_its_config_said(calls: Calls) -> None:
    sandbox = calls.ok("RunPodSandbox")
    assert re.fullmatch("[0-9a-f]{64}", sandbox)
    answer = calls.ok("PodSandboxStatus", "ready")
    status = answer["status"]
    assert status["id"] == sandbox
    assert status["state"] == "SANDBOX_READY"
    assert status["metadata"] == {"name": "alpha", "uid": "uid-of-alpha", "namespace": "peers", "attempt": 0}
    assert status["labels"]["app"] == "alpha"
    assert status["annotations"]["peers.test/note"] == "kept as it is"
    assert int(status["created_at"]) > 1_700_000_000 * 10**9
    assert status["network"]["ip"] or calls.real
    # containerd 2.4.2 sends some though not asked for.
    assert answer["info"] == {} or calls.real
    assert calls.ok("PodSandboxStatus", "by prefix")["status"] == status
    verbose = calls.ok("PodSandboxStatus", "verbose")
    assert verbose["status"] == status
    for text in verbose["info"].values():
        json.loads(text)
    # Only CRI-O, and only with its pod events on, tells of the containers with their sandbox.
    filled = calls.runtime == "cri-o"
    assert (int(answer["timestamp"]) > 0) == filled


def test_a_stopped_sandbox_is_not_ready_and_containerd_forgets_its_address(calls: Calls) -> None:
    status = calls.ok("PodSandboxStatus", "stopped")["status"]
    assert status["state"] == "SANDBOX_NOTREADY"
    before = calls.ok("PodSandboxStatus", "ready")["status"]["network"]["ip"]
    after = (status["network"] or {"ip": ""})["ip"]
    assert after == (before if calls.runtime in CRI_O else "")


@pytest.mark.parametrize("name", ["ListPodSandbox", "StreamPodSandboxes"])
@pytest.mark.parametrize(
    ("case", "names"),
    [
        ("all", ["alpha", "omega"]),
        ("empty filter", ["alpha", "omega"]),
        ("ready", ["alpha"]),
        ("not ready", ["omega"]),
        ("by id prefix", ["alpha"]),
        ("unknown id", []),
        ("by label", ["alpha"]),
        ("by label and state", []),
        ("none left", []),
    ],
)
def test_sandbox_lists_and_their_filters(calls: Calls, name: str, case: str, names: list[str]) -> None:
    assert calls.listed(name, case) == names


@pytest.mark.parametrize("name", ["ListContainers", "StreamContainers"])
@pytest.mark.parametrize(
    ("case", "names"),
    [
        ("all", ["main", "waiting"]),
        ("created", ["waiting"]),
        ("running", ["main"]),
        ("by id prefix", ["main"]),
        ("unknown id", []),
        ("by sandbox", ["main", "waiting"]),
        ("by other sandbox", []),
        ("by label", ["main"]),
        ("none left", []),
    ],
)
def test_container_lists_and_their_filters(calls: Calls, name: str, case: str, names: list[str]) -> None:
    assert calls.listed(name, case) == names


def test_lists_and_statuses_agree(calls: Calls) -> None:
    sandbox = next(item for item in calls.ok("ListPodSandbox", "all") if item["metadata"]["name"] == "alpha")
    status = calls.ok("PodSandboxStatus", "ready")["status"]
    for field in ("id", "metadata", "state", "created_at", "labels", "annotations", "runtime_handler"):
        assert sandbox[field] == status[field], field
    container = next(item for item in calls.ok("ListContainers", "all") if item["metadata"]["name"] == "main")
    status = calls.ok("ContainerStatus", "running")["status"]
    for field in ("id", "metadata", "state", "created_at", "labels", "annotations"):
        assert container[field] == status[field], field
    assert container["pod_sandbox_id"] == sandbox["id"]


@only(*STREAMING)
def test_streamed_lists_are_streamed(calls: Calls) -> None:
    assert "falling back" not in calls.log


def test_a_container_created(calls: Calls) -> None:
    status = calls.ok("ContainerStatus", "created")["status"]
    assert status["id"] == calls.ok("CreateContainer")
    assert status["state"] == "CONTAINER_CREATED"
    assert int(status["created_at"]) > 0
    assert (int(status["started_at"]), int(status["finished_at"])) == (0, 0)
    assert (status["exit_code"], status["reason"]) == (0, "")
    assert status["metadata"] == {"name": "main", "attempt": 0}
    assert status["labels"]["io.kubernetes.container.name"] == "main"
    assert status["annotations"]["io.kubernetes.container.restartCount"] == "0"
    assert status["log_path"].endswith("/peers_alpha_uid-of-alpha/main/0.log")
    assert status["log_path"].startswith("/")
    if not calls.real:
        assert "@sha256:" in status["image_ref"]
        assert status["image_id"] in ("", calls.ok("PullImage"))


def test_a_container_running(calls: Calls) -> None:
    status = calls.ok("ContainerStatus", "running")["status"]
    assert status["state"] == "CONTAINER_RUNNING"
    assert int(status["started_at"]) >= int(status["created_at"])
    assert (int(status["finished_at"]), status["exit_code"], status["reason"]) == (0, 0, "")
    for case in ("verbose", "by prefix"):
        assert calls.ok("ContainerStatus", case)["status"] == status


@pytest.mark.parametrize("case", ["stopped", "stopped with its sandbox"])
def test_a_container_stopped(calls: Calls, case: str) -> None:
    status = calls.ok("ContainerStatus", case)["status"]
    assert status["state"] == "CONTAINER_EXITED"
    assert int(status["finished_at"]) >= int(status["started_at"]) > 0
    # A timeout of 0 kills at once; CRI-O gives the containers of a stopped sandbox time for their stop signal.
    assert status["exit_code"] in ((137,) if case == "stopped" or calls.runtime in CONTAINERD else (137, 143))
    assert status["reason"] == "Error"


@only(*CONTAINERD)
def test_a_container_whose_start_failed_stays_on_containerd(calls: Calls) -> None:
    status = calls.ok("ContainerStatus", "no such command")["status"]
    assert (status["state"], status["exit_code"], status["reason"]) == ("CONTAINER_EXITED", 128, "StartError")
    assert status["message"]
    assert int(status["started_at"]) == 0
    assert int(status["finished_at"]) > 0


def test_a_container_that_never_started_is_stopped_on_cri_o_alone(calls: Calls) -> None:
    state = calls.ok("ContainerStatus", "stopped while created")["status"]["state"]
    assert state == ("CONTAINER_EXITED" if calls.runtime in CRI_O else "CONTAINER_CREATED")


def test_a_restart_is_a_new_container(calls: Calls) -> None:
    status = calls.ok("ContainerStatus", "stopped with its sandbox")["status"]
    assert status["metadata"] == {"name": "main", "attempt": 1}
    assert status["id"] != calls.ok("CreateContainer")


PODS = ("alpha", "omega", "hasty pod", "second hasty pod")
STORY = [
    "alpha created", "alpha started", "omega created", "omega started", "omega stopped",
    "main created", "waiting created", "main started", "waiting stopped", "main stopped", "main deleted",
    "next created", "next started",
    # Its start fails, and of that no runtime tells.
    "wrong created", "wrong deleted",
    "next stopped", "alpha stopped", "next deleted", "waiting deleted", "alpha deleted", "omega deleted",
    "hasty pod created", "hasty pod started", "hasty created", "hasty started",
    "hasty stopped", "hasty pod stopped", "hasty deleted", "hasty pod deleted",
    "second hasty pod created", "second hasty pod started", "second hasty pod stopped", "second hasty pod deleted",
]  # fmt: skip
#: CRI-O kills what never started when it is stopped.
ONLY_CRI_O = {"waiting stopped"}
#: CRI-O cannot look up a sandbox before it is stored and after it is gone, nor what goes with it; and it finds out at
#: the creation that a command is missing.
ONLY_CONTAINERD = {
    *(f"{pod} {event}" for pod in PODS for event in ("created", "deleted")),
    *(f"{container} deleted" for container in ("next", "waiting", "hasty", "wrong")),
    "wrong created",
}  # fmt: skip


@only(*WITH_EVENTS)
def test_the_event_stream_tells_the_whole_story(calls: Calls) -> None:
    crio = calls.runtime == "cri-o"
    who = {
        calls.ok("RunPodSandbox"): "alpha",
        calls.ok("RunPodSandbox", "other"): "omega",
        calls.ok("RunPodSandbox", "hasty"): "hasty pod",
        calls.ok("RunPodSandbox", "name free again"): "second hasty pod",
        calls.ok("CreateContainer"): "main",
        calls.ok("CreateContainer", "waiting"): "waiting",
        calls.ok("CreateContainer", "next attempt"): "next",
        calls.ok("CreateContainer", "hasty"): "hasty",
        calls["CreateContainer", "no such command"].answer: "wrong",
    }
    seen = [
        f"{who[event['container_id']]} {event['container_event_type'].split('_')[1].lower()}" for event in calls.events
    ]
    story = [event for event in STORY if event not in (ONLY_CONTAINERD if crio else ONLY_CRI_O)]
    # The order in which containers go with their sandbox is the runtime's own.
    if {"waiting deleted", "next deleted"} <= set(seen):
        first = min(seen.index("waiting deleted"), seen.index("next deleted"))
        seen[first : first + 2] = sorted(seen[first : first + 2])
    # A real runtime answers a call before or after it queues the event: what comes is sure, the order only usual.
    assert sorted(seen) == sorted(story) if calls.real else seen == story


@only(*WITH_EVENTS)
def test_events_carry_the_pod_as_it_is(calls: Calls) -> None:
    sandbox, container = calls.ok("RunPodSandbox"), calls.ok("CreateContainer")
    times = [int(event["created_at"]) for event in calls.events]
    assert times == sorted(times)
    assert times[0] > 1_700_000_000 * 10**9
    for event in calls.events:
        kind = event["container_event_type"]
        states = {status["id"]: status["state"] for status in event["containers_statuses"]}
        if event["container_id"] == container:
            assert event["pod_sandbox_status"]["id"] == sandbox
            assert event["pod_sandbox_status"]["state"] == "SANDBOX_READY"
            assert states.get(container) == {
                "CONTAINER_CREATED_EVENT": "CONTAINER_CREATED",
                "CONTAINER_STARTED_EVENT": "CONTAINER_RUNNING",
                "CONTAINER_STOPPED_EVENT": "CONTAINER_EXITED",
                "CONTAINER_DELETED_EVENT": None,
            }.get(kind)
        if event["container_id"] == sandbox:
            status = event["pod_sandbox_status"]
            if kind == "CONTAINER_DELETED_EVENT" and calls.runtime == "containerd-1.7":
                assert status is None
            else:
                ready = kind in ("CONTAINER_CREATED_EVENT", "CONTAINER_STARTED_EVENT")
                assert status["state"] == ("SANDBOX_READY" if ready else "SANDBOX_NOTREADY")
