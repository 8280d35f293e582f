"""Inspections within a relist: which pods, in which order, and what a failed one leaves (section 2.3, G3 column)."""

from __future__ import annotations

from cri.clock import MILLISECOND, MINUTE
from pleg.pods import PodLifecycleEvent, PodStatus
from tests.pleg.support import Bench, virtual

STARTED, DIED, REMOVED, POD_SYNC = "ContainerStarted", "ContainerDied", "ContainerRemoved", "PodSync"


def with_pods(bench: Bench, *uids: str) -> Bench:
    for uid in uids:
        bench.runtime.sandbox(f"s-{uid}", uid)
        bench.runtime.container(f"c-{uid}", uid, sandbox=f"s-{uid}")
    return bench


@virtual
async def test_pods_are_inspected_one_after_the_other_and_only_those_that_changed() -> None:
    bench = with_pods(Bench(), "a", "b", "c")
    await bench.relist()
    bench.runtime.asked()
    bench.runtime.container("c-b", "b", "exited", sandbox="s-b")
    assert await bench.relist() == [("b", "c-b", DIED)]
    assert bench.runtime.asked() == ["ListPodSandbox", "ListContainers", "PodSandboxStatus/s-b", "ContainerStatus/c-b"]


@virtual
async def test_a_created_container_is_unknown_its_pod_inspected_its_record_advanced_and_nothing_sent() -> None:
    bench = with_pods(Bench(), "a")
    await bench.relist()
    bench.runtime.container("new", "a", "created", sandbox="s-a")
    assert await bench.relist() == []
    assert "new" in [c.id for c in bench.status("a").containers]
    bench.runtime.asked()
    assert await bench.relist() == []
    assert bench.runtime.asked() == ["ListPodSandbox", "ListContainers"]
    bench.runtime.container("new", "a", "unknown", sandbox="s-a")
    assert await bench.relist() == [], "created to unknown is no change at all"
    assert bench.runtime.asked() == ["ListPodSandbox", "ListContainers"]
    bench.runtime.container("new", "a", "running", sandbox="s-a")
    assert await bench.relist() == [("a", "new", STARTED)]


@virtual
async def test_what_was_created_started_ended_and_removed_between_two_relists_leaves_no_trace() -> None:
    bench = with_pods(Bench(), "a")
    await bench.relist()
    bench.runtime.container("short", "a", "running", sandbox="s-a")
    bench.runtime.remove("short")
    assert await bench.relist() == []


@virtual
async def test_an_inspection_error_is_cached_and_the_record_kept_so_that_later_changes_merge() -> None:
    bench = with_pods(Bench(), "a", "b")
    await bench.relist()
    bench.runtime.container("c-a", "a", "exited", sandbox="s-a")
    bench.runtime.container("c-b", "b", "exited", sandbox="s-b")
    bench.runtime.fail("ContainerStatus/c-a", message="stuck")
    assert await bench.relist() == [("b", "c-b", DIED)], "others go on"
    status, error = bench.cache.get("a")
    assert (status, str(error)) == (None, "rpc error: code = Unknown desc = stuck")
    bench.runtime.heal()
    bench.runtime.remove("c-a")
    bench.runtime.container("next", "a", sandbox="s-a")
    assert await bench.relist() == [("a", "c-a", DIED), ("a", "c-a", REMOVED), ("a", "next", STARTED)]


@virtual
async def test_a_change_that_was_undone_while_inspections_failed_ends_as_pod_sync() -> None:
    bench = with_pods(Bench(), "a")
    await bench.relist()
    bench.runtime.container("c-a", "a", "exited", sandbox="s-a")
    bench.runtime.fail("ContainerStatus/c-a", times=1)
    assert await bench.relist() == []
    bench.runtime.container("c-a", "a", "running", sandbox="s-a")
    assert await bench.relist() == [("a", "", POD_SYNC)]


@virtual
async def test_k24819_a_pod_that_fails_is_inspected_at_each_relist_until_it_is_well() -> None:
    bench = with_pods(Bench(), "a")
    bench.runtime.fail("ContainerStatus/c-a", times=3)
    for _ in range(3):
        assert await bench.relist() == []
    assert await bench.relist() == [("a", "c-a", STARTED), ("a", "s-a", STARTED)]
    assert [error is None for _, error in bench.hooks.of("pod_inspected")] == [False, False, False, True]


@virtual
async def test_k85391_a_failing_pod_is_inspected_once_per_relist() -> None:
    """Until 1.31 one that was flagged already was inspected twice, each time for the whole deadline."""
    bench = with_pods(Bench(), "a")
    bench.runtime.hang("ContainerStatus/c-a")
    await bench.relist()
    begin = bench.clock.monotonic()
    await bench.relist()
    assert bench.clock.monotonic() - begin == 2 * MINUTE + 3 * MILLISECOND


@virtual
async def test_k22155_a_pod_that_is_removed_and_comes_back_starts_anew() -> None:
    bench = with_pods(Bench(), "a")
    await bench.relist()
    bench.runtime.remove("s-a", "c-a")
    assert len(await bench.relist()) == 4
    with_pods(bench, "a")
    assert await bench.relist() == [("a", "c-a", STARTED), ("a", "s-a", STARTED)]
    bench.runtime.remove("s-a", "c-a")
    assert len(await bench.relist()) == 4


@virtual
async def test_a_pod_that_vanished_while_it_failed_is_deleted_with_its_events() -> None:
    bench = with_pods(Bench(), "a")
    await bench.relist()
    bench.runtime.container("c-a", "a", "exited", sandbox="s-a")
    bench.runtime.fail("ContainerStatus/c-a")
    await bench.relist()
    bench.runtime.remove("s-a", "c-a")
    assert await bench.relist() == [
        ("a", "c-a", DIED),
        ("a", "c-a", REMOVED),
        ("a", "s-a", DIED),
        ("a", "s-a", REMOVED),
    ]
    assert bench.cache.get("a") == (PodStatus("a"), None)


@virtual
async def test_a_pod_never_inspected_well_that_vanishes_sends_pod_sync_alone() -> None:
    """No record was ever advanced, so there is no container to report; the flag still asks for its PodSync."""
    bench = with_pods(Bench(), "a")
    bench.runtime.fail("ContainerStatus/c-a")
    await bench.relist()
    bench.runtime.remove("s-a", "c-a")
    assert await bench.relist() == [("a", "", POD_SYNC)]
    assert "a" not in bench.cache


@virtual
async def test_a_flag_for_a_pod_that_is_never_listed_stays_and_asks_nothing() -> None:
    bench = Bench()
    bench.generic.request_reinspect("ghost")
    for _ in range(3):
        assert await bench.relist() == []
    assert bench.runtime.asked() == ["ListPodSandbox", "ListContainers"] * 3
    bench.runtime.container("c", "ghost", "created")
    assert await bench.relist() == [], "an internal event is an event: no PodSync"


@virtual
async def test_k136408_what_a_full_channel_dropped_is_never_sent_again() -> None:
    bench = with_pods(Bench(capacity=1), "a", "b")
    await bench.generic.relist()
    assert (len(bench.channel), bench.channel.discarded) == (1, 3)
    bench.events()
    for _ in range(3):
        assert await bench.relist() == []
    assert len(bench.hooks.of("event_discarded")) == 3
    assert "a" in bench.cache, "the cache had it all the same"


@virtual
async def test_exit_codes_are_logged_with_each_death_whose_status_is_known() -> None:
    bench = Bench()
    bench.runtime.sandbox("s", "a")
    bench.runtime.container("one", "a", "exited", sandbox="s", exit_code=3)
    bench.runtime.container("two", "a", "exited", sandbox="s", exit_code=137)
    await bench.relist()
    bench.runtime.remove("one")
    await bench.relist()
    found = [values for _, values in bench.hooks.logged("Generic (PLEG): container finished")]
    assert sorted((v["podID"], v["containerID"], v["exitCode"], v["v"]) for v in found) == [
        ("a", "one", 3, 2),
        ("a", "two", 137, 2),
    ]


# --- order ---------------------------------------------------------------------------------------------------


@virtual
async def test_pods_come_in_an_order_that_the_seed_decides() -> None:
    def order(seed: int) -> list[str]:
        return list(dict.fromkeys(event.uid for event in found[seed]))

    found: dict[int, list[PodLifecycleEvent]] = {}
    for seed in (1, 2):
        for attempt in range(2):
            bench = with_pods(Bench(seed=seed, capacity=1000), *(f"u{n}" for n in range(30)))
            if attempt:
                bench.runtime.order = lambda items: items[::-1]  # the runtime's order does not matter
            await bench.generic.relist()
            events = bench.events()
            assert found.setdefault(seed, events) == events
    assert order(1) != order(2)
    assert order(1) != sorted(order(1)), "upstream iterates a map"
