"""A comparison as text for people and as data for machines. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from cri.clock import MILLISECOND
from pleg.bench.changes import Outcome
from pleg.bench.side_by_side import Comparison, Row

#: Differences that are told one by one.
_SHOWN: Final = 5


def table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """One column per design, the first line their names; all cells are text."""
    lines: list[tuple[str, Callable[[Row], str]]] = [
        ("detection latency p50", lambda row: _milliseconds(row.verdict.latency(0.5))),
        ("detection latency p99", lambda row: _milliseconds(row.verdict.latency(0.99))),
        ("changes that have an event", lambda row: str(row.verdict.changes)),
        ("  on time (within 1 s)", lambda row: _count(row, Outcome.ON_TIME)),
        ("  late", lambda row: _count(row, Outcome.LATE)),
        ("  coalesced", lambda row: _count(row, Outcome.COALESCED)),
        ("  relist-only", lambda row: _count(row, Outcome.RELIST_ONLY)),
        ("  never", lambda row: _count(row, Outcome.NEVER)),
        ("  unexplained", lambda row: _count(row, Outcome.UNEXPLAINED)),
        ("duplicates", lambda row: str(row.verdict.duplicates)),
        ("RPCs/s", lambda row: f"{row.rpcs_per_second:.1f}"),
        ("KB/s received", lambda row: f"{row.bytes_per_second / 1000:.0f}"),
        ("CPU of the PLEG, ms/s", lambda row: f"{row.pleg_cpu * 1000:.1f}"),
        ("CPU of the runtime, ms/s", lambda row: f"{row.runtime_cpu * 1000:.1f}"),
        ("cache ends as the runtime", _ending),
    ]
    head = ("", *(str(row.pleg) for row in rows))
    return [head, *((name, *(cell(row) for row in rows)) for name, cell in lines)]


def _ending(row: Row) -> str:
    if not row.ends_right:
        return "NO"
    ghosts = row.after_relist if row.after_relist is not None else row.differences
    return "but ghosts" if ghosts else "yes"


def _milliseconds(nanoseconds: int | None) -> str:
    return "-" if nanoseconds is None else f"{nanoseconds / MILLISECOND:.0f} ms"


def _count(row: Row, outcome: Outcome) -> str:
    return str(row.verdict.outcomes[outcome])


def causes(rows: Iterable[Row]) -> list[str]:
    """A sentence for each cell of late, coalesced, relist-only, duplicates and unexplained that is not 0."""
    sentences = []
    for row in rows:
        for kind in (*(o for o in Outcome if o is not Outcome.ON_TIME), "duplicates"):
            for cause, count in row.verdict.causes.get(kind, Counter()).most_common():
                sentences.append(f"{row.pleg}, {kind}: {count}: {cause}.")
    return sentences


def closing_relist(rows: Iterable[Row]) -> list[str]:
    """What evented's cache held wrongly before and after its one forced relist."""
    for row in rows:
        if row.after_relist is not None:
            lines = [f"evented, before its closing relist: {_differences(len(row.differences))}"]
            lines += [f"  {difference}" for difference in row.differences[:_SHOWN]]
            if len(row.differences) > _SHOWN:
                lines.append(f"  and {len(row.differences) - _SHOWN} more")
            if row.differences and not row.after_relist:
                lines.append(
                    "  (no event deletes a container from the cache: its sandbox's DELETED deletes the pod's entry)"
                )
            lines.append(f"evented, after it: {_differences(len(row.after_relist))}")
            if row.after_relist and row.ends_right:
                lines.append("  (ghosts: this runtime's events do not tell of a sandbox's end, and relists visit only")
                lines.append(
                    "  what is listed or on record; pods that came and went between two relists stay for ever)"
                )
            return lines
    return []


def _differences(count: int) -> str:
    return "nothing wrong in the cache" if not count else f"{count} wrong in the cache"


def data(comparison: Comparison, rows: Iterable[Row]) -> dict[str, Any]:
    """For --json: times in ns, CPU in seconds per second."""
    return {
        "pods": comparison.pods,
        "containers": comparison.containers,
        "churn_per_second": comparison.churn,
        "runtime": comparison.runtime,
        "seed": comparison.seed,
        "designs": [
            {
                "pleg": row.pleg,
                "window_ns": row.window,
                "latency_p50_ns": row.verdict.latency(0.5),
                "latency_p99_ns": row.verdict.latency(0.99),
                "changes": row.verdict.changes,
                "outcomes": {outcome.value: row.verdict.outcomes[outcome] for outcome in Outcome},
                "duplicates": row.verdict.duplicates,
                "causes": {kind: dict(found) for kind, found in row.verdict.causes.items() if kind != Outcome.ON_TIME},
                "rpcs_per_second": row.rpcs_per_second,
                "calls": dict(sorted(row.calls.items())),
                "bytes_per_second": row.bytes_per_second,
                "stream_events": row.stream_events,
                "pleg_cpu": row.pleg_cpu,
                "runtime_cpu": row.runtime_cpu,
                "pleg_peak_bytes": row.peak_bytes,
                "discarded": row.discarded,
                "differences": [str(difference) for difference in row.differences],
                "ghosts": sorted(row.ghosts & {difference.uid for difference in row.after_relist or ()}),
                "differences_after_relist": None
                if row.after_relist is None
                else [str(difference) for difference in row.after_relist],
            }
            for row in rows
        ],
    }
