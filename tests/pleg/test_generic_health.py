"""What the generic PLEG says of itself: health, last_seen, gauges, kept IPs, and what it costs in calls."""

from __future__ import annotations

import anyio
import pytest

from cri.clock import HOUR, MILLISECOND, MINUTE, SECOND, VIRTUAL_EPOCH, seconds
from pleg.generators.generic import RelistSettings
from tests.pleg.support import Bench, virtual

# --- health texts, to the letter (section 2.6) ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("elapsed", "threshold", "text"),
    [
        (3 * MINUTE, 3 * MINUTE, None),  # equal is healthy
        (3 * MINUTE + 1, 3 * MINUTE, "pleg was last seen active 3m0.000000001s ago; threshold is 3m0s"),
        (185_300_154_470, 3 * MINUTE, "pleg was last seen active 3m5.30015447s ago; threshold is 3m0s"),
        (
            2 * HOUR + 33 * MINUTE + 12_704_970_756,
            3 * MINUTE,
            "pleg was last seen active 2h33m12.704970756s ago; threshold is 3m0s",
        ),
        (HOUR + 5 * SECOND, 10 * MINUTE, "pleg was last seen active 1h0m5s ago; threshold is 10m0s"),
        (11 * SECOND, 10 * SECOND, "pleg was last seen active 11s ago; threshold is 10s"),
        (1_500_000, MILLISECOND, "pleg was last seen active 1.5ms ago; threshold is 1ms"),
    ],
)
@virtual
async def test_health_by_the_time_since_the_start_of_the_last_good_relist(
    elapsed: int, threshold: int, text: str | None
) -> None:
    bench = Bench(settings=RelistSettings(threshold=threshold))
    bench.runtime.delays |= {"ListPodSandbox": 1, "ListContainers": 1}
    await bench.relist()
    await bench.until(elapsed)
    assert bench.generic.healthy() == text


@virtual
async def test_before_the_first_success_it_has_yet_to_be_successful_however_long_that_takes() -> None:
    bench = Bench()
    bench.runtime.fail("ListPodSandbox")
    async with bench.running():
        await bench.until(10 * MINUTE)
        assert bench.generic.healthy() == "pleg has yet to be successful"
    assert bench.hooks.of("last_seen") == [], "the gauge stands at 0 until then"


@virtual
async def test_asking_for_health_asks_nothing_of_the_runtime() -> None:
    bench = Bench()
    await bench.relist()
    bench.runtime.asked()
    bench.generic.healthy()
    assert bench.runtime.asked() == []


@virtual
async def test_last_seen_is_in_whole_seconds_and_told_only_when_somebody_asks_for_health() -> None:
    bench = Bench()
    await anyio.sleep(1.999)
    await bench.relist()
    assert bench.hooks.of("last_seen") == []
    await anyio.sleep(5)
    bench.generic.healthy()
    assert bench.hooks.of("last_seen") == [VIRTUAL_EPOCH // SECOND + 1]
    await anyio.sleep(seconds(HOUR))
    assert bench.generic.healthy() is not None
    assert bench.hooks.of("last_seen")[-1] == VIRTUAL_EPOCH // SECOND + 1, "it shows a hang"


# --- the threshold in time (section 2.7) ---------------------------------------------------------------------


async def verdicts(bench: Bench, until: int) -> list[tuple[int, bool]]:
    """At which second the verdict changed, and to what."""
    found: list[tuple[int, bool]] = []
    async with bench.running():
        for second in range(1, until):
            await bench.until(second * SECOND)
            healthy = bench.generic.healthy() is None
            if not found or found[-1][1] != healthy:
                found.append((second, healthy))
    return found


@virtual
async def test_a_list_that_hangs_makes_it_unhealthy_180_s_after_the_start_of_the_last_good_relist() -> None:
    bench = Bench()

    async def break_it() -> None:
        await bench.until(9 * SECOND + 500 * MILLISECOND)
        bench.runtime.hang("ListContainers")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(break_it)
        found = await verdicts(bench, 400)
    # The last good relist started at 9.018 s, the first that hangs at 10.02 s; then one each 121 s.
    assert found == [(1, True), (190, False)]
    failed = [at for at, _ in bench.hooks.logged("GenericPLEG: Unable to retrieve pods")]
    assert [round(seconds(at), 3) for at in failed] == [130.021, 251.022, 372.023]


@virtual
async def test_k94829_one_hanging_inspection_keeps_it_healthy_and_others_late() -> None:
    """Inspected once a relist (1.32 on): about 121 s each. Until 1.31 it was twice, and the node flapped."""
    bench = Bench()
    bench.runtime.container("stuck", "bad")
    bench.runtime.hang("ContainerStatus/stuck")
    bench.runtime.container("fine", "good")
    assert await verdicts(bench, 700) == [(1, True)]
    assert [call.at // SECOND for call in bench.runtime.calls if call.rpc == "ListPodSandbox"] == [
        0,
        121,
        242,
        363,
        484,
        605,
    ]


@virtual
async def test_k97362_two_hanging_inspections_make_it_flap() -> None:
    bench = Bench()
    for uid in ("one", "two"):
        bench.runtime.container(f"c-{uid}", uid)
        bench.runtime.hang(f"ContainerStatus/c-{uid}")
    # A relist takes 240 s: late from 180 s after its start until the next one's list, 61 s later.
    assert await verdicts(bench, 600) == [(1, True), (181, False), (242, True), (422, False), (483, True)]


@virtual
async def test_inspections_that_fail_fast_never_count_against_health() -> None:
    bench = Bench()
    bench.runtime.container("c", "bad")
    bench.runtime.fail("ContainerStatus")
    assert await verdicts(bench, 400) == [(1, True)]


# --- pod IPs (section 2.8) -----------------------------------------------------------------------------------


def with_ip() -> Bench:
    bench = Bench()
    bench.runtime.sandbox("s1", "1234", ip="10.0.0.1")
    bench.runtime.container("c1", "1234", sandbox="s1")
    return bench


@virtual
async def test_new_ips_win() -> None:
    bench = with_ip()
    await bench.relist()
    bench.runtime.sandbox("s2", "1234", attempt=1, ip="10.0.0.2")
    await bench.relist()
    assert bench.status("1234").ips == ("10.0.0.2",)


@virtual
async def test_a_pod_whose_sandbox_ended_keeps_its_ips() -> None:
    bench = with_ip()
    await bench.relist()
    bench.runtime.sandbox("s1", "1234", "notready")
    bench.runtime.container("c1", "1234", "exited", sandbox="s1")
    await bench.relist()
    assert bench.status("1234").ips == ("10.0.0.1",)


@virtual
async def test_a_ready_sandbox_without_ip_has_none() -> None:
    bench = with_ip()
    await bench.relist()
    bench.runtime.sandbox("s1", "1234", "notready")
    bench.runtime.sandbox("s2", "1234", attempt=1)
    await bench.relist()
    assert bench.status("1234").ips == ()


@virtual
async def test_any_ready_sandbox_counts_not_only_the_newest() -> None:
    bench = with_ip()
    await bench.relist()
    bench.runtime.sandbox("s2", "1234", "notready", attempt=1)
    await bench.relist()
    assert bench.status("1234").ips == (), "the newest has none, and an older one is READY"


@virtual
async def test_one_failed_inspection_between_running_and_exited_loses_the_ips() -> None:
    """The consequence that 2.8 names: the cached entry is an error by then."""
    bench = with_ip()
    await bench.relist()
    bench.runtime.sandbox("s1", "1234", "notready")
    bench.runtime.fail("PodSandboxStatus/s1", times=1)
    await bench.relist()
    await bench.relist()
    assert bench.status("1234").ips == ()


@virtual
async def test_a_pod_never_seen_before_has_no_ips_to_keep() -> None:
    bench = Bench()
    bench.runtime.sandbox("s1", "1234", "notready")
    await bench.relist()
    assert bench.status("1234").ips == ()


# --- gauges (section 2.9) ------------------------------------------------------------------------------------


def gauges(bench: Bench) -> tuple[dict[str, int], int]:
    counts = {str(state): count for state, count in bench.hooks.of("running_containers")}
    pods = bench.hooks.of("running_pods")[-1]
    bench.hooks.clear()
    return counts, pods


@virtual
async def test_k98644_only_states_that_are_present_are_set_so_the_others_stick() -> None:
    bench = with_ip()
    bench.runtime.container("c2", "1234", "created", sandbox="s1")
    await bench.relist()
    assert gauges(bench) == ({"created": 1, "running": 1}, 1)
    bench.runtime.container("c2", "1234", "running", sandbox="s1")
    await bench.relist()
    assert gauges(bench) == ({"running": 2}, 1), "nothing is said of created, whose gauge stays at 1"
    bench.runtime.remove("s1", "c1", "c2")
    await bench.relist()
    assert gauges(bench) == ({}, 0), "pods do go to 0"


@virtual
async def test_gauges_count_raw_states_and_are_set_at_each_relist_before_any_inspection() -> None:
    bench = with_ip()
    bench.runtime.hang("PodSandboxStatus")
    async with bench.running():
        await bench.until(5 * MILLISECOND)
        assert gauges(bench) == ({"running": 1}, 1)
        bench.runtime.heal()
        await bench.until(2 * SECOND)
        assert gauges(bench) == ({"running": 1}, 1)


@virtual
async def test_a_pod_without_sandbox_is_not_a_running_pod() -> None:
    bench = Bench()
    bench.runtime.container("c1", "1234")
    await bench.relist()
    assert gauges(bench) == ({"running": 1}, 0)


# --- calls (section 6.3, G3 column) --------------------------------------------------------------------------


@pytest.mark.parametrize(("pods", "sandboxes", "containers"), [(0, 0, 0), (1, 1, 0), (3, 1, 4), (2, 3, 2)])
@virtual
async def test_a_first_relist_costs_two_calls_and_one_per_sandbox_and_container(
    pods: int, sandboxes: int, containers: int
) -> None:
    bench = Bench()
    for pod in range(pods):
        for number in range(sandboxes):
            bench.runtime.sandbox(f"s{pod}-{number}", f"u{pod}", attempt=number)
        for number in range(containers):
            bench.runtime.container(f"c{pod}-{number}", f"u{pod}")
    await bench.relist()
    assert len(bench.runtime.asked()) == 2 + pods * (sandboxes + containers)
    await bench.relist()
    assert len(bench.runtime.asked()) == 2, "a quiet relist"
    if pods and containers:
        bench.runtime.container("c0-0", "u0", "exited")
        await bench.relist()
        assert len(bench.runtime.asked()) == 2 + sandboxes + containers


@virtual
async def test_a_pod_that_is_gone_costs_nothing() -> None:
    bench = with_ip()
    await bench.relist()
    bench.runtime.asked()
    bench.runtime.remove("s1", "c1")
    await bench.relist()
    assert bench.runtime.asked() == ["ListPodSandbox", "ListContainers"]
