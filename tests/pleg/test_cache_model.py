"""The pod cache against a model of it that is too simple to be wrong, over random operations and readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pleg.cache import PodCache
from pleg.pods import PodStatus

uids = st.sampled_from("ab")
times = st.integers(0, 6)
operation = st.one_of(
    st.tuples(st.just("set"), uids, times),
    st.tuples(st.just("observe"), uids, times),
    st.tuples(st.just("delete"), uids),
    st.tuples(st.just("update"), times),
    st.tuples(st.just("read"), uids, times),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
)


@dataclass(slots=True)
class _Reader:
    uid: str
    minimum: int
    scope: anyio.CancelScope
    answer: PodStatus | None = None
    expected: PodStatus | None = None
    cancelled: bool = False


@dataclass(slots=True)
class _Model:
    """Entries as (status, modified, observed); readers are answered by the rules as the reference words them."""

    refuse_older: bool
    entries: dict[str, tuple[PodStatus, int, int]]
    global_time: int | None = None

    def read(self, uid: str) -> PodStatus:
        return self.entries[uid][0] if uid in self.entries else PodStatus(uid)

    def is_newer(self, uid: str, minimum: int) -> bool:
        times = [] if self.global_time is None else [self.global_time]
        if uid in self.entries:
            times += self.entries[uid][1:]
        return any(time > minimum for time in times)

    def wake(self, readers: list[_Reader], time: int, *uids: str) -> None:
        for reader in readers:
            if reader.uid in uids and reader.expected is None and not reader.cancelled and time >= reader.minimum:
                reader.expected = self.read(reader.uid)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("refuse_older", [False, True])
@given(operations=st.lists(operation, max_size=40))
@settings(max_examples=60, deadline=None)
def test_the_cache_does_as_its_model(
    backend: str, refuse_older: bool, operations: Sequence[tuple[object, ...]]
) -> None:
    anyio.run(_compare, refuse_older, operations, backend=backend)


async def _compare(refuse_older: bool, operations: Sequence[tuple[object, ...]]) -> None:
    cache, model = PodCache(refuse_older=refuse_older), _Model(refuse_older, {})
    readers: list[_Reader] = []

    async def read(reader: _Reader) -> None:
        with reader.scope:
            reader.answer, error = await cache.get_newer_than(reader.uid, reader.minimum)
            assert error is None

    async with anyio.create_task_group() as tasks:
        for number, step in enumerate(operations):
            match step:
                case ("set", str(uid), int(time)):
                    written = PodStatus(uid, f"write {number}")
                    old = model.entries.get(uid)
                    accept = not (refuse_older and old is not None and old[1] > time)
                    assert cache.set(uid, written, None, time) is accept
                    if accept:
                        model.entries[uid] = (written, time, time)
                        model.wake(readers, time, uid)
                case ("observe", str(uid), int(time)):
                    cache.set_observed_time(uid, time)
                    if uid in model.entries:
                        model.entries[uid] = (*model.entries[uid][:2], time)
                    model.wake(readers, time, uid)
                case ("delete", str(uid)):
                    cache.delete(uid)
                    model.entries.pop(uid, None)
                case ("update", int(time)):
                    cache.update_time(time)
                    model.global_time = time
                    model.wake(readers, time, "a", "b")
                case ("read", str(uid), int(minimum)):
                    reader = _Reader(uid, minimum, anyio.CancelScope())
                    if model.is_newer(uid, minimum):
                        reader.expected = model.read(uid)
                    readers.append(reader)
                    tasks.start_soon(read, reader)
                case ("cancel", int(which)) if readers:
                    reader = readers[which % len(readers)]
                    reader.scope.cancel()
                    reader.cancelled = True
            await anyio.wait_all_tasks_blocked()
            assert cache.time == model.global_time
            assert {uid: (e.status, e.modified, e.observed) for uid, e in cache.entries()} == model.entries
            assert [reader.answer for reader in readers] == [reader.expected for reader in readers]
        tasks.cancel_scope.cancel()
