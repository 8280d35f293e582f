"""Readers of a pod cache that wait in the background, under whichever backend runs."""

from __future__ import annotations

import anyio
from anyio.abc import TaskGroup

from pleg.cache import PodCache
from pleg.pods import PodStatus

Answer = tuple[PodStatus | None, Exception | None]


def status(uid: str = "u", name: str = "") -> PodStatus:
    return PodStatus(uid, name)


class Waiter:
    """A reader in the background; `answer` is what it got."""

    def __init__(self, cache: PodCache, minimum: int, uid: str = "u") -> None:
        self.cache, self.minimum, self.uid = cache, minimum, uid
        self.answer: Answer | None = None
        self.scope = anyio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            self.answer = await self.cache.get_newer_than(self.uid, self.minimum)

    async def start(self, tasks: TaskGroup) -> Waiter:
        tasks.start_soon(self.run)
        await anyio.wait_all_tasks_blocked()
        return self

    async def woken(self) -> bool:
        await anyio.wait_all_tasks_blocked()
        return self.answer is not None
