"""Pods that a fake runtime has of itself: a static population, and a seeded churn on it.

`churn` is a rate of changes of state per second, a Poisson process: every journal line counts as one. Ends strike any
running container, whoever made it; restarts, removals and new pods happen to the workload's own pods alone.

What is begun is a script of steps with short pauses between them. All steps wait in one heap and one task runs them,
so that the same seed and clock give the same changes on every event loop.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator
from dataclasses import dataclass
from random import Random
from typing import Final

import anyio

from cri.clock import MILLISECOND, SECOND, seconds
from cri.transport import CriError
from cri.v1 import api_pb2 as pb
from fake_cri.objects import Container, Sandbox
from fake_cri.pods import PodSpec, make_pod
from fake_cri.runtime import FakeRuntime

#: What is to be done yields how long to wait, in ns, before its next step.
Steps = Generator[int, None, None]

_EXITS: Final = ((0, False), (1, False), (3, False), (137, True), (143, False))
_EXIT_WEIGHTS: Final = (5, 3, 1, 2, 1)
_DEAD_KEPT: Final = 1  # of each container, as the kubelet does
_RETRY: Final = 100 * MILLISECOND  # how often what waits for a runtime that is down looks again
_POD_SHARE: Final = 0.12  # of all scripts, those that replace a whole pod


@dataclass(slots=True)
class Script:
    """Something in progress, the changes that it was expected to make, and those that it made so far."""

    steps: Steps
    expected: int
    made: int = 0


class Pod:
    """One pod of the workload: its sandbox, and the attempts of each of its containers, oldest first."""

    def __init__(self, spec: PodSpec, sandbox: Sandbox) -> None:
        self.spec = spec
        self.sandbox = sandbox
        self.attempts: dict[str, list[Container]] = {name: [] for name in spec.containers}
        self.leaving = False

    def alive(self) -> bool:
        """Still ours to act on: not on its way out, nor stopped by a client."""
        return not self.leaving and self.sandbox.ready

    def running(self) -> list[Container]:
        return [container for attempts in self.attempts.values() for container in attempts if container.running]


class Workload:
    """Makes pods and lets them live. Deterministic given seed and clock."""

    def __init__(
        self,
        runtime: FakeRuntime,
        *,
        pods: int = 0,
        containers: int = 2,
        churn: float = 0.0,
        seed: int | str = 1,
        dead: int = 0,
    ) -> None:
        """`dead` pods stand beside the `pods`: their sandboxes NOTREADY, their containers EXITED, for ever."""
        self._dead = dead
        self._dead_rng = Random(f"{seed}/dead")
        self._runtime = runtime
        self._state = runtime.state
        self._clock = runtime.clock
        self._wanted = pods
        self._containers = containers
        self._rate = churn
        self._rng = Random(f"{seed}/workload")
        self._made = 0
        self._pods: dict[str, Pod] = {}
        self._steps: list[tuple[int, int, Script]] = []
        self._sequence = 0
        self._churning = churn > 0
        self._next_arrival = 0
        self._wake: anyio.Event | None = None

    @property
    def quiet(self) -> bool:
        """No churn any more, and nothing in progress."""
        return not self._churning and not self._steps

    def populate(self) -> None:
        """Make the static population at once: every pod up, every container running."""
        for _ in range(self._wanted):
            for _ in self._come():
                pass
        catalogue = self._runtime.catalogue
        for number in range(self._dead):
            spec = make_pod(self._dead_rng, number, self._containers)
            sandbox = self._state.run_sandbox(spec.sandbox, "", own=True)
            image = catalogue.pull(spec.image)
            for name in spec.containers:
                config = spec.container(name, 0, catalogue.image_id(image))
                container = self._state.create_container(sandbox, config, catalogue.names(image))
                self._state.start_container(container)
                self._state.end_container(container, 0)
            self._state.stop_sandbox(sandbox)

    def stop_churn(self) -> None:
        """Begin nothing new; what is in progress goes on to its end, and `run` returns after it."""
        self._churning = False
        if self._wake is not None:
            self._wake.set()

    async def run(self) -> None:
        """Let time pass. Returns once the churn was stopped and everything begun is complete."""
        self._next_arrival = self._clock.monotonic() + self._wait(1)
        while not self.quiet:
            now = self._clock.monotonic()
            while self._steps and self._steps[0][0] <= now:
                _, number, script = heapq.heappop(self._steps)
                if self._runtime.outage.is_down:  # all but exits takes a runtime that answers
                    heapq.heappush(self._steps, (now + _RETRY, number, script))
                else:
                    self._advance(script, now)
            if self._churning and self._next_arrival <= now:
                self._arrive(now)
                continue
            due = [self._steps[0][0]] if self._steps else []
            if self._churning:
                due.append(self._next_arrival)
            if not due:
                return
            self._wake = anyio.Event()
            with anyio.move_on_after(seconds(max(0, min(due) - now))):
                await self._wake.wait()

    # --- what happens ----------------------------------------------------------------------------------------------

    def _arrive(self, now: int) -> None:
        """Begin one script. The next begins when the rate has room for as many changes as this one makes."""
        script = self._choose()
        self._next_arrival += self._wait(1 if script is None else script.expected)
        if script is not None:
            self._advance(script, now)

    def _choose(self) -> Script | None:
        running = [container for container in self._state.containers if container.running]
        if self._wanted and not self._runtime.outage.is_down and (not running or self._rng.random() < _POD_SHARE):
            pods = [pod for pod in self._pods.values() if not pod.leaving]
            missing = self._wanted - len(pods)
            if missing <= 0 or (missing <= self._wanted // 10 and self._rng.random() < 0.5):
                pod = self._rng.choice(pods)
                gone = sum(len(attempts) for attempts in pod.attempts.values())
                return Script(self._go(pod), len(pod.running()) + gone + 2)
            return Script(self._come(), 1 + 2 * self._containers)
        if not running:
            return None
        container = self._rng.choice(running)
        owner = self._pods.get(container.sandbox.id)
        if owner is None:
            return Script(self._end(container, None), 1)
        dead = len(owner.attempts.get(container.config.metadata.name, ())) - 1
        return Script(self._end(container, owner), 3 + (1 if dead >= _DEAD_KEPT else 0))

    def _end(self, container: Container, pod: Pod | None) -> Steps:
        """It exits; in a pod of our own a new attempt follows, and old attempts go."""
        code, oom = self._rng.choices(_EXITS, _EXIT_WEIGHTS)[0]
        self._state.end_container(container, code, oom_killed=oom)
        if pod is None or not pod.alive():
            return
        yield self._rng.randint(20, 1500) * MILLISECOND
        if not pod.alive():
            return
        name = container.config.metadata.name
        attempts = pod.attempts.get(name)
        if not attempts or attempts[-1] is not container:
            return
        yield from self._start(pod, name, container.config.metadata.attempt + 1)
        yield self._rng.randint(5, 200) * MILLISECOND
        while len(attempts) > 1 + _DEAD_KEPT and attempts[0].finished_at:
            self._state.remove_container(attempts.pop(0))
            yield self._pause()

    def _come(self) -> Steps:
        """A new pod: its sandbox, then one container after the other."""
        spec = make_pod(self._rng, self._made, self._containers)
        self._made += 1
        sandbox = self._state.run_sandbox(spec.sandbox, "", own=True)
        pod = Pod(spec, sandbox)
        self._pods[sandbox.id] = pod
        for name in spec.containers:
            yield self._pause()
            if not pod.alive():
                return
            yield from self._start(pod, name, 0)

    def _start(self, pod: Pod, name: str, attempt: int) -> Steps:
        catalogue = self._runtime.catalogue
        image = catalogue.pull(pod.spec.image)
        config = pod.spec.container(name, attempt, catalogue.image_id(image))
        try:
            container = self._state.create_container(pod.sandbox, config, catalogue.names(image))
            pod.attempts[name].append(container)
            yield self._pause()
            if pod.alive() and container.state == pb.CONTAINER_CREATED and container.id in self._state.containers:
                self._state.start_container(container)
        except CriError:
            return  # a client took the sandbox or the container away

    def _go(self, pod: Pod) -> Steps:
        """A pod ends: its containers by their stop signal, its sandbox, and after a while all of it is removed."""
        pod.leaving = True
        for container in pod.running():
            self._state.end_container(container, self._rng.choice((0, 143)))
            yield self._pause()
        if pod.sandbox.id in self._state.sandboxes:
            self._state.stop_sandbox(pod.sandbox)
        yield self._rng.randint(100, 1500) * MILLISECOND
        if self._rng.random() < 0.5:  # the kubelet's garbage collection takes containers first, but not always
            for container in list(pod.sandbox.containers.values()):
                self._state.remove_container(container)
                yield self._pause()
        if pod.sandbox.id in self._state.sandboxes:
            self._state.remove_sandbox(pod.sandbox)
        del self._pods[pod.sandbox.id]

    # --- when ------------------------------------------------------------------------------------------------------

    def _advance(self, script: Script, now: int) -> None:
        before = self._runtime.changes
        wait = next(script.steps, None)
        script.made += self._runtime.changes - before
        if wait is not None:
            self._sequence += 1
            heapq.heappush(self._steps, (now + wait, self._sequence, script))
        elif self._rate > 0:  # what it made less, or more, than expected moves the next arrival
            self._next_arrival -= round((script.expected - script.made) * SECOND / self._rate)

    def _pause(self) -> int:
        return self._rng.randint(2, 60) * MILLISECOND

    def _wait(self, changes: int) -> int:
        """Until the rate has room for that many changes, in ns."""
        if self._rate <= 0:
            return 0
        return max(1, round(sum(self._rng.expovariate(self._rate) for _ in range(changes)) * SECOND))
