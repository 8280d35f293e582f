"""Runs a node over a fake runtime in virtual time, both in this process, and notes what happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio

from cri.clock import MILLISECOND, Clock, seconds
from cri.virtual_time import virtual_clock
from fake_cri.faults import parse_fault
from fake_cri.in_memory import InMemoryTransport
from fake_cri.journal import Change
from fake_cri.profiles import Profile, load_profile
from fake_cri.runtime import FakeRuntime
from fake_cri.workload import Workload
from pleg.hooks import Hooks
from pleg.kubelet import Kubelet, Settings
from pleg.observe.agreement import Difference, cache_states, differences
from pleg.observe.recorder import to_json
from pleg.pods import ContainerEvent, PodLifecycleEvent

_LOOK: Final = 10 * MILLISECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to simulate. The same plan gives the same run, to the byte."""

    settings: Settings = field(default_factory=Settings)
    #: A profile, or the name of one.
    runtime: str | Profile = "containerd-2.4"
    pods: int = 10
    containers: int = 2
    #: Changes of state per second.
    churn: float = 5.0
    #: As `fake-cri serve --fault` takes them.
    faults: Sequence[str] = ()
    seed: int = 1


class Log(Hooks):
    """The events that were read and how long relists took, for a run that is looked at afterwards."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Events as `pleg run --events` writes them.
        self.lines: list[str] = []
        self.events: list[tuple[int, PodLifecycleEvent]] = []
        self.discarded: list[tuple[int, PodLifecycleEvent]] = []
        self.sent: list[tuple[int, PodLifecycleEvent]] = []
        self.received: list[tuple[int, ContainerEvent]] = []
        #: Pods of which the cache refused a write as older than its entry.
        self.refused: set[str] = set()
        #: Start, end (monotonic ns) and outcome of each global relist.
        self.relists: list[tuple[int, int, Exception | None]] = []
        self._relist_started = 0

    def relist_started(self, interval: int | None) -> None:
        self._relist_started = self._clock.monotonic()

    def relist_ended(self, duration: int, error: Exception | None) -> None:
        self.relists.append((self._relist_started, self._clock.monotonic(), error))

    def cache_set(self, uid: str, accepted: bool) -> None:
        if not accepted:
            self.refused.add(uid)

    def event_sent(self, event: PodLifecycleEvent) -> None:
        self.sent.append((self._clock.now(), event))

    def event_discarded(self, event: PodLifecycleEvent) -> None:
        self.discarded.append((self._clock.now(), event))

    def event_read(self, event: PodLifecycleEvent, namespace: str, name: str) -> None:
        now = self._clock.now()
        self.events.append((now, event))
        self.lines.append(to_json(now, event, namespace, name))

    def container_event_received(self, event: ContainerEvent) -> None:
        self.received.append((self._clock.now(), event))

    @property
    def longest_relist(self) -> int:
        """Duration of the longest global relist, ns."""
        return max((end - start for start, end, _ in self.relists), default=0)


class Simulation:
    """One run under way. Time passes while somebody waits."""

    def __init__(self, plan: Plan, hooks: Sequence[Hooks]) -> None:
        self.plan = plan
        self.clock = virtual_clock()
        self.log = Log(self.clock)
        self.journal: list[Change] = []
        profile = load_profile(plan.runtime) if isinstance(plan.runtime, str) else plan.runtime
        self.runtime = FakeRuntime(
            profile,
            clock=self.clock,
            seed=plan.seed,
            journal=self.journal.append,
            faults=[parse_fault(text) for text in plan.faults],
        )
        self.workload = Workload(
            self.runtime, pods=plan.pods, containers=plan.containers, churn=plan.churn, seed=plan.seed
        )
        self.workload.populate()
        self.transport = InMemoryTransport(self.runtime, seed=plan.seed)
        self.kubelet = Kubelet(
            self.transport, self.clock, settings=plan.settings, seed=plan.seed, hooks=[self.log, *hooks]
        )

    async def quiet_down(self) -> None:
        """End the churn and wait until everything it began is complete."""
        self.workload.stop_churn()
        while not self.workload.quiet:  # noqa: ASYNC110 - virtual time: looking costs nothing
            await anyio.sleep(seconds(_LOOK))

    def truth(self) -> dict[str, dict[str, str]]:
        """The runtime's own state, by pod uid and id."""
        states: dict[str, dict[str, str]] = {}
        snapshot = self.runtime.snapshot()
        for kind in (snapshot["sandboxes"], snapshot["containers"]):
            for id_, (uid, state) in kind.items():
                states.setdefault(uid, {})[id_] = state
        return states

    def differences(self) -> list[Difference]:
        """In what the cache does not hold what the runtime has, right now."""
        return differences(self.truth(), cache_states(self.kubelet.cache.entries()))


@asynccontextmanager
async def simulate(plan: Plan, hooks: Sequence[Hooks] = ()) -> AsyncIterator[Simulation]:
    """A node and its runtime, running until the block is left. Call it below `cri.virtual_time.run_virtual`."""
    simulation = Simulation(plan, hooks)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(simulation.workload.run)
        tasks.start_soon(simulation.runtime.run)
        tasks.start_soon(simulation.runtime.outage.run)
        tasks.start_soon(simulation.kubelet.run)
        yield simulation
        tasks.cancel_scope.cancel()
