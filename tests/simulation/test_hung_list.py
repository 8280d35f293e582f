"""The demo's hung list follows what a real kubelet 1.37.2 was seen to do, to the second."""

from __future__ import annotations

import pytest

from cri.clock import SECOND
from pleg.simulation.hung_list import HungList, hung_list


@pytest.fixture(scope="module")
def story() -> HungList:
    return hung_list()


def at(story: HungList, part: str, text: str) -> list[float]:
    """When that was said, s since the last good relist began."""
    return [round(e.at / SECOND, 1) for e in story.entries if e.part == part and text in e.text]


def test_relists_fail_at_their_deadlines_and_begin_again_a_second_later(story: HungList) -> None:
    assert at(story, "relist", "Unable to retrieve pods") == pytest.approx([121, 242, 363], abs=0.2)


def test_the_node_is_not_ready_at_its_first_status_after_the_threshold(story: HungList) -> None:
    (moment,) = at(story, "node", "Ready False")
    assert 180 < moment <= 180 + 10.4
    (entry,) = [e for e in story.entries if "Ready False" in e.text]
    assert "PLEG is not healthy: pleg was last seen active 3m" in entry.text
    assert entry.text.endswith("ago; threshold is 3m0s")


def test_the_loop_hangs_in_housekeeping_so_its_log_comes_a_minute_after_the_node(story: HungList) -> None:
    assert at(story, "sync loop", "Housekeeping took longer than expected: 2m0")[0] == pytest.approx(121, abs=1)
    assert at(story, "sync loop", "Skipping pod synchronization")[0] == pytest.approx(241, abs=2)


def test_it_recovers_when_the_hang_ends(story: HungList) -> None:
    (again,) = at(story, "relist", "succeeds again")
    assert again == pytest.approx(421, abs=0.5)
    (ready,) = at(story, "node", "Ready True")
    assert again < ready <= again + 10.4
