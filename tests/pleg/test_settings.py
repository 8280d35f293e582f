"""A node's settings: the kubelet's numbers as defaults, and a sentence for what makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

from cri.clock import MINUTE, SECOND
from pleg.kubelet import PLEGS, Settings
from tests.pleg.support import NodeBench, virtual


def test_the_defaults_are_the_kubelets_numbers() -> None:
    settings = Settings()
    assert (settings.pleg, settings.stream_lists) == ("generic", "off")
    assert (settings.relist_period, settings.relist_threshold) == (SECOND, 3 * MINUTE)
    assert (settings.evented_relist_period, settings.evented_relist_threshold) == (5 * MINUTE, 10 * MINUTE)
    assert settings.cache_tick == 5 * SECOND
    assert (settings.stream_retries, settings.stream_backoff, settings.stream_buffer) == (5, (0, 0), 1000)
    assert (settings.channel_capacity, settings.relist_queue) == (1000, 200)
    assert settings.poll_period == 10 * SECOND
    assert settings.runtime_request_timeout == 2 * MINUTE
    assert not settings.stream_buffer_drops, "the receive blocks, as the kubelet's"


def test_the_four_designs_are_in_the_order_of_their_years() -> None:
    assert PLEGS == ("polling", "generic", "evented", "hinted")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pleg": "psychic"}, "pleg is one of generic, evented, hinted, polling, not 'psychic'"),
        ({"stream_lists": "maybe"}, "stream_lists is one of off, on, auto, not 'maybe'"),
        ({"relist_period": 0}, "relist_period must be more than 0s, not 0s"),
        ({"relist_threshold": -SECOND}, "relist_threshold must be more than 0s, not -1s"),
        ({"cache_tick": 0}, "cache_tick must be more than 0s"),
        ({"poll_period": 0}, "poll_period must be more than 0s"),
        ({"runtime_request_timeout": 0}, "runtime_request_timeout must be more than 0s"),
        ({"channel_capacity": 0}, "channel_capacity must be at least 1, not 0"),
        ({"relist_queue": 0}, "relist_queue must be at least 1"),
        ({"stream_buffer": 0}, "stream_buffer must be at least 1"),
        ({"stream_retries": -1}, "stream_retries must not be negative"),
        ({"stream_backoff": (2, 1)}, "stream_backoff goes from a shorter to a longer pause"),
        ({"stream_retries": None}, "stream_retries unlimited needs a stream_backoff"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_name_of_the_field(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**wrong)


@pytest.mark.parametrize("pleg", PLEGS)
@virtual
async def test_a_node_closes_its_stream_before_it_is_stopped_and_opens_it_again(pleg: Any) -> None:
    bench = NodeBench(Settings(pleg=pleg))
    async with bench.running():
        await bench.until(10 * SECOND)
        await bench.node.suspend()
        closed = [call.rpc for call, *_ in bench.hooks.of("call_ended") if call.rpc == "GetContainerEvents"]
        await bench.until(20 * SECOND)
        bench.node.resume()
        await bench.until(30 * SECOND)
    has_stream = pleg in ("evented", "hinted")
    assert closed == (["GetContainerEvents"] if has_stream else [])
    assert len(bench.runtime.streams) == (2 if has_stream else 0)
    assert bench.hooks.of("stream_ended") == []
