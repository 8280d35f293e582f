"""The whole runtime against a tiny model of it, by random calls, for each runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from cri.transport import Code
from cri.v1 import api_pb2 as pb
from cri.virtual_time import VirtualTimeLoop
from fake_cri.journal import Change

from .support import CRI_O, IMAGE, PROFILES, Client, container_config, make_runtime, sandbox_config

T = TypeVar("T")

PODS = st.integers(0, 2)
ATTEMPTS = st.integers(0, 1)
NAMES = st.sampled_from(["a", "b"])
#: Which of those there were so far; the newest most often.
NUMBERS = st.integers(0, 5)
#: Removals and sandbox stops are rare, or nothing would live for long.
RARELY = st.sampled_from([True, False, False, False])


def pick(made: list[str], number: int) -> str:
    """One that was made, alive or gone; 0 is the newest."""
    return made[-1 - number % len(made)]


class Machine(RuleBasedStateMachine):
    """Subclasses name the profile."""

    profile = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.crio = self.profile in CRI_O
        self.journal: dict[str, str | None] = {}
        self.ready: dict[str, bool] = {}
        self.sandbox_keys: dict[str, tuple[int, int]] = {}
        self.states: dict[str, str] = {}
        self.container_keys: dict[str, tuple[str, str, int, int]] = {}
        self.sandboxes: list[str] = []
        self.containers: list[str] = []

    def teardown(self) -> None:
        self.runner.close()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def code(self, rpc: str, **fields: Any) -> Code:
        return self.do(self.client.code(rpc, **fields))

    def on_change(self, change: Change) -> None:
        assert self.journal.get(change.id) == change.old
        self.journal[change.id] = change.new

    @initialize()
    def begin(self) -> None:
        async def make() -> Client:
            return Client(make_runtime(self.profile, journal=self.on_change))

        self.client = self.do(make())
        self.client.runtime.catalogue.pull(IMAGE)
        self.run_this_sandbox(0, 0)
        for name in ("a", "b"):
            self.create_in_this_sandbox(self.sandboxes[0], name, 0)

    def sandbox_of(self, container: str) -> str:
        return self.container_keys[container][1]

    def end(self, container: str, *, created_too: bool) -> None:
        if self.states[container] == "RUNNING" or (created_too and self.states[container] == "CREATED"):
            self.states[container] = "EXITED"

    def end_all_of(self, sandbox: str) -> None:
        for container in self.states:
            if self.sandbox_of(container) == sandbox:
                self.end(container, created_too=self.crio)
        self.ready[sandbox] = False

    @rule(pod=PODS, attempt=ATTEMPTS)
    def run_pod_sandbox(self, pod: int, attempt: int) -> None:
        self.run_this_sandbox(pod, attempt)

    def run_this_sandbox(self, pod: int, attempt: int) -> None:
        config = sandbox_config(f"pod-{pod}", attempt=attempt)
        taken = [i for i, key in self.sandbox_keys.items() if key == (pod, attempt)]
        if taken and not self.crio:
            code = self.code("RunPodSandbox", config=config)
            assert code is (Code.UNKNOWN if self.profile == "containerd-1.6" else Code.FAILED_PRECONDITION)
            return
        made = self.do(self.client.run(f"pod-{pod}", attempt=attempt))
        if taken:
            assert [made] == taken
            return
        self.ready[made] = True
        self.sandbox_keys[made] = (pod, attempt)
        self.sandboxes.append(made)

    @rule(sandbox=NUMBERS, really=RARELY)
    def stop_pod_sandbox(self, sandbox: int, really: bool) -> None:
        if really and self.sandboxes:
            self.stop_this_sandbox(pick(self.sandboxes, sandbox))

    def stop_this_sandbox(self, sandbox: str) -> None:
        code = self.code("StopPodSandbox", pod_sandbox_id=sandbox)
        if sandbox not in self.ready:
            assert code is (Code.NOT_FOUND if self.profile == "containerd-1.6" else Code.OK)
            return
        assert code is Code.OK
        self.end_all_of(sandbox)

    @rule(sandbox=NUMBERS, really=RARELY)
    def remove_pod_sandbox(self, sandbox: int, really: bool) -> None:
        if really and self.sandboxes:
            self.remove_this_sandbox(pick(self.sandboxes, sandbox))

    def remove_this_sandbox(self, sandbox: str) -> None:
        assert self.code("RemovePodSandbox", pod_sandbox_id=sandbox) is Code.OK
        for container in [c for c in self.states if self.sandbox_of(c) == sandbox]:
            del self.states[container]
        self.ready.pop(sandbox, None)
        self.sandbox_keys.pop(sandbox, None)

    @rule(sandbox=NUMBERS, name=NAMES, attempt=ATTEMPTS)
    def create_container(self, sandbox: int, name: str, attempt: int) -> None:
        if self.sandboxes:
            self.create_in_this_sandbox(pick(self.sandboxes, sandbox), name, attempt)

    def create_in_this_sandbox(self, sandbox: str, name: str, attempt: int) -> None:
        config = container_config(name, attempt=attempt)
        if not self.ready.get(sandbox, False):
            code = self.code("CreateContainer", pod_sandbox_id=sandbox, config=config)
            assert code in (Code.UNKNOWN, Code.NOT_FOUND)
            return
        pod = self.sandbox_keys[sandbox][0]
        # The key has the pod's name and uid, but not the sandbox's attempt.
        taken = [
            c for c in self.states if (self.container_keys[c][0], *self.container_keys[c][2:]) == (name, pod, attempt)
        ]
        if taken and not self.crio:
            code = self.code("CreateContainer", pod_sandbox_id=sandbox, config=config)
            assert code is (Code.UNKNOWN if self.profile == "containerd-1.6" else Code.FAILED_PRECONDITION)
            return
        made = self.do(self.client.create(sandbox, name, attempt=attempt))
        if taken:
            assert [made] == taken
            return
        self.container_keys[made] = (name, sandbox, pod, attempt)
        self.states[made] = "CREATED"
        self.containers.append(made)

    @rule(container=NUMBERS, fails=RARELY)
    def start_container(self, container: int, fails: bool) -> None:
        if self.containers:
            self.start_this_container(pick(self.containers, container), fails)

    def start_this_container(self, container: str, fails: bool) -> None:
        found = self.client.runtime.state.containers.get(container)
        if found is not None and fails:
            found.config.annotations["fake-cri/start-error"] = "cannot"
        code = self.code("StartContainer", container_id=container)
        if found is not None:
            found.config.annotations.pop("fake-cri/start-error", None)
        state = self.states.get(container)
        if state is None:
            assert code is Code.NOT_FOUND
        elif state != "CREATED":
            assert code is Code.UNKNOWN
        elif fails or not self.ready[self.sandbox_of(container)]:
            assert code is Code.UNKNOWN
            if self.crio:
                del self.states[container]
            else:
                self.states[container] = "EXITED"
        else:
            assert code is Code.OK
            self.states[container] = "RUNNING"

    @rule(container=NUMBERS, grace=st.sampled_from([0, 5]))
    def stop_container(self, container: int, grace: int) -> None:
        if self.containers:
            self.stop_this_container(pick(self.containers, container), grace)

    def stop_this_container(self, container: str, grace: int) -> None:
        code = self.code("StopContainer", container_id=container, timeout=grace)
        if container not in self.states:
            assert code is (Code.NOT_FOUND if self.profile == "containerd-1.6" else Code.OK)
            return
        assert code is Code.OK
        self.end(container, created_too=self.crio)

    @rule(number=NUMBERS, exit_code=st.sampled_from([0, 1, 137]))
    def container_ends(self, number: int, exit_code: int) -> None:
        if not self.containers:
            return
        container = pick(self.containers, number)
        found = self.client.runtime.state.containers.get(container)
        if found is not None and found.running:
            self.client.runtime.state.end_container(found, exit_code)
            self.states[container] = "EXITED"

    @rule(number=NUMBERS, really=RARELY)
    def remove_container(self, number: int, really: bool) -> None:
        if not really or not self.containers:
            return
        container = pick(self.containers, number)
        assert self.code("RemoveContainer", container_id=container) is Code.OK
        self.states.pop(container, None)

    @invariant()
    def lists_and_statuses_agree_with_the_model(self) -> None:
        if not hasattr(self, "client"):
            return

        async def look() -> None:
            sandboxes = (await self.client.call("ListPodSandbox")).items
            assert {item.id: item.state == pb.SANDBOX_READY for item in sandboxes} == self.ready
            containers = (await self.client.call("ListContainers")).containers
            states = {item.id: pb.ContainerState.Name(item.state).removeprefix("CONTAINER_") for item in containers}
            assert states == self.states
            for item in containers:
                status = await self.client.status(item.id)
                assert status.state == item.state
                assert (status.finished_at > 0) == (item.state == pb.CONTAINER_EXITED)
                assert (status.reason != "") == (item.state == pb.CONTAINER_EXITED)
                assert status.created_at > 0

        self.do(look())
        known = {i: state for i, state in self.journal.items() if state is not None}
        assert set(known) == set(self.ready) | set(self.states)
        snapshot = self.client.runtime.snapshot()
        assert known == {
            i: state for i, (_, state) in [*snapshot["sandboxes"].items(), *snapshot["containers"].items()]
        }


@pytest.mark.parametrize("profile", PROFILES)
def test_random_calls(profile: str) -> None:
    class OfProfile(Machine):
        pass

    OfProfile.profile = profile
    run_state_machine_as_test(
        OfProfile,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
