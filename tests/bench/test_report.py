"""The report of a comparison: a column for each design, a reason for each figure that asks for one."""

from __future__ import annotations

import json
from collections import Counter

from cri.clock import MILLISECOND, SECOND
from pleg.bench.changes import Outcome, Verdict
from pleg.bench.report import causes, closing_relist, data, table
from pleg.bench.side_by_side import Comparison, Row
from pleg.kubelet import Pleg
from pleg.observe.agreement import Difference


def row(pleg: Pleg = "generic", **more: object) -> Row:
    verdict = Verdict(Counter({Outcome.ON_TIME: 3, Outcome.LATE: 1}), latencies=[MILLISECOND, 2 * MILLISECOND])
    verdict.causes[Outcome.ON_TIME][""] = 3
    verdict.causes[Outcome.LATE]["the next relist was late"] = 1
    figures = Row(
        pleg=pleg,
        verdict=verdict,
        window=6 * SECOND,
        rpcs_per_second=2.95,
        bytes_per_second=340_400,
        stream_events=0,
        pleg_cpu=0.0179,
        runtime_cpu=0.0291,
        peak_bytes=1 << 20,
        discarded=0,
        calls=Counter({"pleg/ListPodSandbox": 6}),
    )
    for name, value in more.items():
        setattr(figures, name, value)
    return figures


GONE = Difference("pod", "c" * 64, None, "CONTAINER_EXITED")


def test_each_design_is_a_column() -> None:
    lines = table([row("generic"), row("hinted")])
    assert lines[0] == ("", "generic", "hinted")
    assert {len(line) for line in lines} == {3}
    cells = {line[0].strip(): line[1] for line in lines}
    assert cells["detection latency p99"] == "2 ms"
    assert cells["late"] == "1"
    assert cells["RPCs/s"] == "3.0"
    assert cells["CPU of the PLEG, ms/s"] == "17.9"
    assert cells["cache ends as the runtime"] == "yes"


def test_what_was_on_time_needs_no_reason() -> None:
    assert causes([row()]) == ["generic, late: 1: the next relist was late."]


def test_a_cache_that_ends_wrong_says_so_unless_the_forced_relist_mended_it() -> None:
    assert not row(differences=[GONE]).ends_right
    assert row("evented", differences=[GONE], after_relist=[]).ends_right
    assert not row("evented", after_relist=[GONE]).ends_right


def test_ghosts_are_no_wrong_ending_but_are_told() -> None:
    haunted = row("evented", differences=[GONE], after_relist=[GONE], ghosts=frozenset({"pod"}))
    assert haunted.ends_right
    assert table([haunted])[-1][-1] == "but ghosts"
    assert "ghosts" in " ".join(closing_relist([haunted]))
    assert data(Comparison(), [haunted])["designs"][0]["ghosts"] == ["pod"]


def test_before_and_after_the_closing_relist() -> None:
    lines = closing_relist([row(), row("evented", differences=[GONE] * 7, after_relist=[])])
    assert lines[0] == "evented, before its closing relist: 7 wrong in the cache"
    assert lines[1].startswith("  pod pod: ccccccccccccc is gone in the runtime, CONTAINER_EXITED in the cache")
    assert "  and 2 more" in lines
    assert lines[-1] == "evented, after it: nothing wrong in the cache"


def test_the_data_is_json_with_every_class() -> None:
    text = json.dumps(data(Comparison(), [row(after_relist=None)]))
    (design,) = json.loads(text)["designs"]
    assert set(design["outcomes"]) == {"on time", "late", "coalesced", "relist-only", "never", "unexplained"}
    assert design["causes"] == {"late": {"the next relist was late": 1}}
    assert design["differences_after_relist"] is None
