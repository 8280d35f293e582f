"""Virtual time: jumps to the nanosecond, ends instead of hanging, and goes the same way each time."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cri.clock import HOUR, MILLISECOND, MINUTE, SECOND, VIRTUAL_EPOCH, Clock, seconds
from cri.virtual_time import NothingScheduled, VirtualTimeLoop, run_virtual, virtual_clock

DAY = 24 * HOUR


def test_it_begins_at_the_epoch_and_returns_what_main_returns() -> None:
    async def main(*args: object) -> tuple[object, ...]:
        clock = virtual_clock()
        return (*args, clock.monotonic(), clock.now())

    assert run_virtual(main, "a", 1) == ("a", 1, 0, VIRTUAL_EPOCH)


def test_the_wall_base_is_the_time_of_the_clocks_making() -> None:
    async def main() -> None:
        await anyio.sleep(3)
        clock = virtual_clock(wall_base=1_000)
        assert (clock.monotonic(), clock.now()) == (3 * SECOND, 1_000)

    run_virtual(main)


def test_a_virtual_clock_outside_virtual_time_says_how_to_get_in() -> None:
    async def main() -> Clock:
        return virtual_clock()

    with pytest.raises(TypeError, match="start the run with run_virtual"):
        asyncio.run(main())


@pytest.mark.parametrize("length", [1, MILLISECOND, SECOND, 10 * MINUTE, DAY, DAY + 1, 40 * DAY])
def test_a_sleep_takes_its_time_to_the_nanosecond_and_none_of_ours(length: int) -> None:
    async def main() -> int:
        clock = virtual_clock()
        await anyio.sleep(seconds(length))
        return clock.monotonic()

    began = time.monotonic()
    assert run_virtual(main) == length
    assert time.monotonic() - began < 1


@given(st.lists(st.integers(1, DAY), max_size=20))
def test_sleeps_add_up_exactly(lengths: list[int]) -> None:
    async def main() -> None:
        clock, passed = virtual_clock(), 0
        for length in lengths:
            await anyio.sleep(seconds(length))
            passed += length
            assert clock.monotonic() == passed

    run_virtual(main)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(0, 24 * DAY))
@example([4], 2_000_000 * SECOND - 3)
@example([0, 1, 2, 3], 2_000_000 * SECOND - 1)
def test_timers_a_nanosecond_apart_go_off_in_order_each_at_its_time(lengths: list[int], start: int) -> None:
    async def main() -> list[tuple[int, int]]:
        await anyio.sleep(seconds(start))
        clock, order = virtual_clock(), []

        async def wait(length: int) -> None:
            await anyio.sleep(seconds(length))
            order.append((clock.monotonic() - start, length))

        async with anyio.create_task_group() as tasks:
            for length in lengths:
                tasks.start_soon(wait, length)
        return order

    order = run_virtual(main)
    assert order == [(length, length) for length in sorted(lengths)]


def test_time_stands_still_while_there_is_work() -> None:
    async def main() -> None:
        clock = virtual_clock()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 10)
            for _ in range(1_000):
                await anyio.lowlevel.checkpoint()
                assert clock.monotonic() == 0
        assert clock.monotonic() == 10 * SECOND

    run_virtual(main)


def test_a_timeout_is_its_own_length() -> None:
    async def main() -> None:
        clock = virtual_clock()
        with anyio.move_on_after(180) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert clock.monotonic() == 3 * MINUTE
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.5):
                await anyio.Event().wait()
        assert clock.monotonic() == 3 * MINUTE + 500 * MILLISECOND
        with anyio.move_on_after(10) as scope:
            await anyio.sleep(9)
        assert not scope.cancelled_caught
        assert anyio.current_time() == 189.5

    run_virtual(main)


def test_an_event_wakes_its_waiters_at_the_moment_it_is_set() -> None:
    async def main() -> list[tuple[str, int]]:
        clock, event, log = virtual_clock(), anyio.Event(), []

        async def wait(name: str) -> None:
            await event.wait()
            log.append((name, clock.monotonic()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, "a")
            tasks.start_soon(wait, "b")
            await anyio.sleep(7)
            event.set()
        return log

    assert run_virtual(main) == [("a", 7 * SECOND), ("b", 7 * SECOND)]


async def _wait_for_each_other() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.Event().wait)
        await anyio.sleep(5)


@pytest.mark.parametrize(
    "main", [anyio.sleep_forever, _wait_for_each_other, partial(anyio.to_thread.run_sync, time.time)]
)
def test_a_run_that_could_only_hang_ends(main: object) -> None:
    """A thread counts as a hang too: there is nothing to wait for it with."""
    with pytest.raises(NothingScheduled, match="nothing is scheduled"):
        run_virtual(main)  # type: ignore[arg-type]


def test_after_a_hang_cleaning_up_still_happens_and_may_take_time() -> None:
    ended: list[int] = []

    async def main() -> None:
        clock = virtual_clock()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3)
            ended.append(clock.monotonic())

    with pytest.raises(NothingScheduled):
        run_virtual(main)
    assert ended == [3 * SECOND]


def test_errors_come_out_as_they_are() -> None:
    async def main() -> None:
        await anyio.sleep(1)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run_virtual(main)


def test_the_same_seed_goes_the_same_way() -> None:
    async def main(seed: int) -> list[tuple[int, int]]:
        clock, chance, log = virtual_clock(), random.Random(seed), []
        send, receive = anyio.create_memory_object_stream[int](3)

        async def produce(number: int) -> None:
            async with send.clone() as stream:
                for _ in range(20):
                    await anyio.sleep(chance.expovariate(10))
                    await stream.send(number)

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(produce, number)
            await anyio.lowlevel.checkpoint()
            send.close()
            async with receive:
                async for number in receive:
                    log.append((clock.monotonic(), number))
                    await anyio.sleep(chance.random() / 100)
        return log

    logs = [run_virtual(main, seed) for seed in (1, 1, 1, 2)]
    assert logs[0] == logs[1] == logs[2] != logs[3]
    assert len(logs[0]) == 200


def test_runs_do_not_share_their_time() -> None:
    async def main() -> int:
        await anyio.sleep(1)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        assert loop.time() == 1.0
        return loop.time_ns()

    assert [run_virtual(main) for _ in range(3)] == [SECOND] * 3
