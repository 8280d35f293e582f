"""The four designs in turn, each over a fresh fake runtime with the same seeded churn, each part in its own process."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio

from cri.clock import SECOND, Clock, seconds
from pleg.bench.changes import Sighting, Verdict, Watch, from_journal, judge, was_listed
from pleg.bench.child import Child, child
from pleg.kubelet import PLEGS, Pleg
from pleg.observe.agreement import Difference, differences
from pleg.pods import EventType

#: How long the slowest design may take to see the last change: polling finds a pod within one period, looks in another.
_SETTLE_LIMIT: Final = 25 * SECOND
_LOOK: Final = 0.2

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What to compare. `window` is how long the churn lasts, ns."""

    plegs: tuple[Pleg, ...] = PLEGS
    runtime: str = "containerd-2.4"
    pods: int = 110
    containers: int = 2
    #: Changes of state per second.
    churn: float = 20.0
    window: int = 6 * SECOND
    seed: int = 1


@dataclass(slots=True)
class Row:
    """One design's figures. CPU is per second of the window, in seconds, of each process."""

    pleg: Pleg
    verdict: Verdict
    #: Length of the window, ns.
    window: int
    rpcs_per_second: float
    bytes_per_second: float
    stream_events: int
    pleg_cpu: float
    runtime_cpu: float
    peak_bytes: int
    discarded: int
    calls: Counter[str] = field(default_factory=Counter)
    #: What the cache held wrongly when the design had had its time, and, for evented, after one forced relist.
    differences: list[Difference] = field(default_factory=list)
    after_relist: list[Difference] | None = None
    #: Pods that evented keeps in its cache for ever: nothing told of their end, and no relist has a record of them.
    ghosts: frozenset[str] = frozenset()

    @property
    def ends_right(self) -> bool:
        """Whether the cache ended as the runtime is, ghosts apart; for evented after its forced relist."""
        wrong = self.differences if self.after_relist is None else self.after_relist
        return all(difference.uid in self.ghosts for difference in wrong)


async def compare(comparison: Comparison, progress: Progress) -> list[Row]:
    """Run each design; `progress` hears what is going on and the share of the whole that is done."""
    rows = []
    clock = Clock.real()
    for position, pleg in enumerate(comparison.plegs):

        def report(what: str, share: float, pleg: Pleg = pleg, position: int = position) -> None:
            progress(f"{pleg}: {what}", (position + share) / len(comparison.plegs))

        with tempfile.TemporaryDirectory(prefix="pleg-") as folder:
            rows.append(await _run(comparison, pleg, f"unix://{Path(folder)}/cri.sock", clock, report))
    return rows


async def _run(comparison: Comparison, pleg: Pleg, endpoint: str, clock: Clock, progress: Progress) -> Row:
    progress("starting", 0.0)
    async with AsyncExitStack() as processes:
        runtime = await processes.enter_async_context(
            child(
                "fake runtime",
                "pleg.bench.runtime_process",
                endpoint=endpoint,
                runtime=comparison.runtime,
                pods=comparison.pods,
                containers=comparison.containers,
                churn=comparison.churn,
                seed=comparison.seed,
            )
        )
        # It answers once it listens; before that a kubelet would use up its attempts at the stream.
        await runtime.ask("mark")
        subject = await processes.enter_async_context(
            child("PLEG", "pleg.bench.subject", endpoint=endpoint, pleg=pleg, seed=comparison.seed)
        )
        await _settle(runtime, subject, clock, lambda _: progress("first look", 0.05))
        before = await _mark(runtime, subject)
        await runtime.ask("churn")
        end = clock.monotonic() + comparison.window
        while (left := end - clock.monotonic()) > 0:
            progress(f"{comparison.churn:g} changes/s", 0.1 + 0.5 * (1 - left / comparison.window))
            await anyio.sleep(min(_LOOK, seconds(left)))
        await runtime.ask("quiet")
        after = await _mark(runtime, subject)
        wrong: list[Difference] = []
        if pleg == "evented":
            # It has had its time: what its events did not tell it would stay wrong for up to 300 s.
            await anyio.sleep(1.5)
            wrong = await _differences(runtime, subject)
            forced_at = clock.now()
            await subject.ask("relist")
            still = await _settle(runtime, subject, clock, lambda _: progress("one relist", 0.95))
        else:
            forced_at = None
            wrong = await _settle(
                runtime, subject, clock, lambda share: progress("catching up with the last change", 0.6 + 0.35 * share)
            )
            still = None
        truth = await runtime.ask("truth")
        seen = await subject.ask("finish")
        progress("done", 1.0)
    return _row(pleg, before, after, truth, seen, wrong, still, forced_at)


async def _mark(runtime: Child, subject: Child) -> tuple[dict[str, Any], dict[str, Any]]:
    return await runtime.ask("mark"), await subject.ask("mark")


async def _settle(runtime: Child, subject: Child, clock: Clock, progress: Callable[[float], None]) -> list[Difference]:
    """Wait until the cache holds what the runtime has; what it does not hold when the time is up."""
    begin = clock.monotonic()
    while True:
        wrong = await _differences(runtime, subject)
        elapsed = clock.monotonic() - begin
        if not wrong or elapsed > _SETTLE_LIMIT:
            return wrong
        progress(elapsed / _SETTLE_LIMIT)
        await anyio.sleep(_LOOK)


async def _differences(runtime: Child, subject: Child) -> list[Difference]:
    states = (await runtime.ask("truth"))["states"]
    truth: dict[str, dict[str, str]] = {}
    for kind in ("sandboxes", "containers"):
        for id_, (uid, state) in states[kind].items():
            truth.setdefault(uid, {})[id_] = state
    cache = await subject.ask("cache")
    if not cache["unread"]:
        return differences(truth, cache["states"])
    return differences(truth, cache["states"]) or [Difference("", "", "an event", None)]


def _row(
    pleg: Pleg,
    before: tuple[dict[str, Any], dict[str, Any]],
    after: tuple[dict[str, Any], dict[str, Any]],
    truth: dict[str, Any],
    seen: dict[str, Any],
    wrong: list[Difference],
    still: list[Difference] | None,
    forced_at: int | None,
) -> Row:
    window = after[1]["now"] - before[1]["now"]
    per_second = SECOND / window
    calls = Counter(after[1]["calls"])
    calls.subtract(before[1]["calls"])
    verdict = judge(
        from_journal(truth["journal"]),
        (Sighting(at, id_, EventType(type_)) for at, id_, type_ in seen["sightings"]),
        Watch(
            pleg,
            relists=[(start, end) for start, end in seen["relists"]],
            stream=[(at, id_, kind) for at, id_, kind in seen["stream"]],
            dropped=[(at, id_, kind) for at, id_, kind in seen["dropped"]],
            forced_relist=forced_at,
        ),
        since=before[0]["now"],
    )
    return Row(
        pleg=pleg,
        verdict=verdict,
        window=window,
        rpcs_per_second=calls.total() * per_second,
        bytes_per_second=(after[1]["received"] - before[1]["received"]) * per_second,
        stream_events=after[1]["stream"] - before[1]["stream"],
        pleg_cpu=(after[1]["cpu"] - before[1]["cpu"]) / window,
        runtime_cpu=(after[0]["cpu"] - before[0]["cpu"]) / window,
        peak_bytes=seen["peak_bytes"],
        discarded=seen["discarded"],
        calls=+calls,
        differences=wrong,
        after_relist=still,
        ghosts=_ghosts(truth["journal"], seen) if pleg == "evented" else frozenset(),
    )


def _ghosts(journal: list[dict[str, Any]], seen: dict[str, Any]) -> frozenset[str]:
    """Pods that are gone and of which no relist made a record: none listed them, or the cache refused its write."""
    lives: dict[str, tuple[int, int]] = {}
    last: dict[str, dict[str, Any]] = {}
    for line in journal:
        lives[line["uid"]] = (lives.get(line["uid"], (line["time_ns"], 0))[0], line["time_ns"])
        last[line["uid"]] = line
    return frozenset(
        uid
        for uid, life in lives.items()
        if last[uid]["new"] is None
        and (uid in seen["refused"] or not any(was_listed(life, (start, end)) for start, end in seen["relists"]))
    )
