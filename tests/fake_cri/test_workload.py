"""The workload: whose pods, which changes, how many, and the same ones for the same seed."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest

from cri.virtual_time import run_virtual
from fake_cri.journal import Change
from fake_cri.runtime import FakeRuntime
from fake_cri.workload import Workload

from .support import PROFILES, Client, in_virtual_time, make_runtime

#: Every change that a sandbox or container may go through.
LEGAL = {
    ("sandbox", None, "SANDBOX_READY"),
    ("sandbox", "SANDBOX_READY", "SANDBOX_NOTREADY"),
    ("sandbox", "SANDBOX_NOTREADY", None),
    ("container", None, "CONTAINER_CREATED"),
    ("container", "CONTAINER_CREATED", "CONTAINER_RUNNING"),
    ("container", "CONTAINER_CREATED", "CONTAINER_EXITED"),
    ("container", "CONTAINER_RUNNING", "CONTAINER_EXITED"),
    ("container", "CONTAINER_CREATED", None),
    ("container", "CONTAINER_EXITED", None),
}


class Truth:
    """What the journal alone says."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.states: dict[str, str] = {}

    def __call__(self, change: Change) -> None:
        assert (change.kind, change.old, change.new) in LEGAL
        assert self.states.pop(change.id, None) == change.old
        if change.new is not None:
            self.states[change.id] = change.new
        self.changes.append(change)

    def agrees_with(self, runtime: FakeRuntime) -> bool:
        truth = runtime.snapshot()
        return self.states == {i: state for part in truth.values() for i, (_, state) in part.items()}  # type: ignore[attr-defined]


async def lived(
    profile: str = "containerd-2.4", *, pods: int = 10, churn: float = 20, seed: int = 1, duration: float = 60
) -> tuple[FakeRuntime, Workload, Truth]:
    """After that long a churn, and the quiet after it."""
    truth = Truth()
    runtime = make_runtime(profile, seed=seed, journal=truth)
    workload = Workload(runtime, pods=pods, containers=2, churn=churn, seed=seed)
    workload.populate()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(workload.run)
        await anyio.sleep(duration)
        workload.stop_churn()
    return runtime, workload, truth


@in_virtual_time
async def test_a_static_population() -> None:
    truth = Truth()
    runtime = make_runtime(journal=truth)
    workload = Workload(runtime, pods=5, containers=3)
    workload.populate()
    await workload.run()  # there is nothing to do
    assert Counter(truth.states.values()) == {"SANDBOX_READY": 5, "CONTAINER_RUNNING": 15}
    assert len(truth.changes) == 5 + 2 * 15
    assert {change.pod for change in truth.changes} == {sandbox.name for sandbox in runtime.state.sandboxes}
    assert len({change.uid for change in truth.changes}) == 5


@in_virtual_time
async def test_the_kubelets_labels_and_annotations() -> None:
    runtime = make_runtime()
    Workload(runtime, pods=1, containers=1).populate()
    client = Client(runtime)
    (sandbox,) = (await client.call("ListPodSandbox")).items
    (container,) = (await client.call("ListContainers")).containers
    pod = sandbox.metadata
    assert {sandbox.labels[f"io.kubernetes.pod.{key}"] for key in ("name", "namespace", "uid")} == {
        pod.name,
        pod.namespace,
        pod.uid,
    }
    assert dict(container.labels) == {
        "io.kubernetes.container.name": container.metadata.name,
        "io.kubernetes.pod.name": pod.name,
        "io.kubernetes.pod.namespace": pod.namespace,
        "io.kubernetes.pod.uid": pod.uid,
    }
    assert set(container.annotations) == {
        "io.kubernetes.container.hash",
        "io.kubernetes.container.restartCount",
        "io.kubernetes.container.terminationMessagePath",
        "io.kubernetes.container.terminationMessagePolicy",
        "io.kubernetes.pod.terminationGracePeriod",
    }
    status = await client.status(container.id)
    assert status.log_path == f"/var/log/pods/{pod.namespace}_{pod.name}_{pod.uid}/{container.metadata.name}/0.log"


@pytest.mark.parametrize("profile", PROFILES)
@in_virtual_time
async def test_a_churn_of_every_kind_then_quiet(profile: str) -> None:
    runtime, workload, truth = await lived(profile)
    assert workload.quiet
    assert truth.agrees_with(runtime)
    kinds = Counter((change.kind, change.old, change.new) for change in truth.changes)
    assert set(kinds) >= LEGAL - {
        ("container", "CONTAINER_CREATED", "CONTAINER_EXITED"),
        ("container", "CONTAINER_CREATED", None),
    }
    assert {container.reason for container in runtime.state.containers} >= {"", "Completed", "Error"}
    assert max(container.config.metadata.attempt for container in runtime.state.containers) >= 2
    assert 8 <= sum(sandbox.ready for sandbox in runtime.state.sandboxes) <= 11
    assert all(sandbox.own for sandbox in runtime.state.sandboxes)
    running = [container for container in runtime.state.containers if container.running]
    assert len(running) == 2 * sum(sandbox.ready for sandbox in runtime.state.sandboxes)  # all came back


@in_virtual_time
async def test_restarts_are_new_attempts_that_count_up() -> None:
    runtime, _, _ = await lived()
    for sandbox in runtime.state.sandboxes:
        attempts: dict[str, list[int]] = {}
        for container in sandbox.containers.values():
            metadata = container.config.metadata
            attempts.setdefault(metadata.name, []).append(metadata.attempt)
            count = container.config.annotations["io.kubernetes.container.restartCount"]
            assert int(count) == metadata.attempt
        for numbers in attempts.values():
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert len(numbers) <= 2  # one dead one is kept


@pytest.mark.parametrize(("pods", "churn"), [(10, 5.0), (10, 50.0), (110, 50.0)])
@in_virtual_time
async def test_every_journal_line_counts_towards_the_rate(pods: int, churn: float) -> None:
    runtime = make_runtime()
    workload = Workload(runtime, pods=pods, containers=2, churn=churn)
    workload.populate()
    before = runtime.changes
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(workload.run)
        await anyio.sleep(120)
        tasks.cancel_scope.cancel()
    assert (runtime.changes - before) / 120 == pytest.approx(churn, rel=0.15)


@in_virtual_time
async def test_without_pods_of_its_own_it_ends_the_clients_and_nothing_else() -> None:
    truth = Truth()
    client = Client(make_runtime(journal=truth))
    sandboxes = [await client.run(f"pod-{number}") for number in range(5)]
    for sandbox in sandboxes:
        for name in ("a", "b", "c"):
            await client.start(sandbox, name)
    made = len(truth.changes)
    workload = Workload(client.runtime, pods=0, churn=5.0)
    workload.populate()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(workload.run)
        await anyio.sleep(60)
        workload.stop_churn()
    ends = truth.changes[made:]
    assert {(change.old, change.new) for change in ends} == {("CONTAINER_RUNNING", "CONTAINER_EXITED")}
    assert len(ends) == 15
    assert len(truth.states) == 20
    codes = {container.exit_code for container in client.runtime.state.containers}
    assert {0, 137} <= codes


@in_virtual_time
async def test_clients_pods_beside_its_own_only_lose_containers() -> None:
    truth = Truth()
    client = Client(make_runtime(journal=truth))
    theirs = await client.run("theirs")
    for number in range(20):
        await client.start(theirs, f"c-{number}")
    workload = Workload(client.runtime, pods=3, churn=40.0)
    workload.populate()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(workload.run)
        await anyio.sleep(60)
        workload.stop_churn()
    mine = {change.new for change in truth.changes if change.pod == "theirs"}
    assert mine == {"SANDBOX_READY", "CONTAINER_CREATED", "CONTAINER_RUNNING", "CONTAINER_EXITED"}
    sandbox = client.runtime.state.sandboxes.find(theirs)
    assert sandbox is not None
    assert sandbox.ready
    assert len(sandbox.containers) == 20


@in_virtual_time
async def test_it_bears_clients_that_take_its_pods_away() -> None:
    truth = Truth()
    runtime = make_runtime(journal=truth)
    client = Client(runtime)
    workload = Workload(runtime, pods=6, churn=30.0)
    workload.populate()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(workload.run)
        for turn in range(60):
            await anyio.sleep(0.5)
            sandboxes, containers = list(runtime.state.sandboxes), list(runtime.state.containers)
            if turn % 3 == 0 and sandboxes:
                await client.call("StopPodSandbox", pod_sandbox_id=sandboxes[turn % len(sandboxes)].id)
            elif turn % 3 == 1 and sandboxes:
                await client.call("RemovePodSandbox", pod_sandbox_id=sandboxes[turn % len(sandboxes)].id)
            elif containers:
                await client.call("RemoveContainer", container_id=containers[turn % len(containers)].id)
        workload.stop_churn()
    assert workload.quiet
    assert truth.agrees_with(runtime)


def journal(profile: str, seed: int) -> str:
    async def main() -> str:
        _, _, truth = await lived(profile, seed=seed, duration=30)
        return "\n".join(change.json() for change in truth.changes)

    return run_virtual(main)


@pytest.mark.parametrize("profile", ["containerd-2.4", "cri-o"])
def test_the_same_seed_writes_the_same_journal_and_another_seed_another(profile: str) -> None:
    first = journal(profile, 1)
    assert first == journal(profile, 1)
    assert first != journal(profile, 2)


def test_what_clients_do_does_not_disturb_the_churn() -> None:
    async def main(look: bool) -> list[tuple[int, str | None]]:
        truth = Truth()
        runtime = make_runtime(journal=truth)
        workload = Workload(runtime, pods=5, churn=10.0)
        workload.populate()
        client = Client(runtime)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(workload.run)
            for _ in range(30):
                await anyio.sleep(1)
                if look:
                    await client.call("ListContainers")
            tasks.cancel_scope.cancel()
        return [(change.time_ns, change.id) for change in truth.changes]

    assert run_virtual(main, False) == run_virtual(main, True)
