"""Whether a pod cache holds what the runtime has: ids and states of sandboxes and containers, pod by pod. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pleg.cache import CacheEntry
from pleg.pods import PodStatus

#: By pod uid, by id of a sandbox or container: its state by CRI's name, as CONTAINER_RUNNING.
States = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One sandbox or container that the cache shows otherwise than the runtime; None where one of them has none."""

    uid: str
    id: str
    runtime: str | None
    cache: str | None

    def __str__(self) -> str:
        return (
            f"pod {self.uid}: {self.id[:13]} is {self.runtime or 'gone'} in the runtime, "
            f"{self.cache or 'missing'} in the cache"
        )


def status_states(status: PodStatus | None) -> dict[str, str]:
    """The states that a status shows, by id."""
    if status is None:
        return {}
    states = {sandbox.id: str(sandbox.state) for sandbox in status.sandboxes}
    states.update((container.id, f"CONTAINER_{container.state.name}") for container in status.containers)
    return states


def cache_states(entries: Iterable[tuple[str, CacheEntry]]) -> dict[str, dict[str, str]]:
    """The states that a cache holds; a cached error shows nothing."""
    return {uid: status_states(entry.status) for uid, entry in entries}


def differences(runtime: States, cache: States) -> list[Difference]:
    """Everything in which the two do not agree, sorted; empty when they do."""
    found = []
    for uid in runtime.keys() | cache.keys():
        actual, cached = runtime.get(uid, {}), cache.get(uid, {})
        found += [
            Difference(uid, id_, actual.get(id_), cached.get(id_))
            for id_ in actual.keys() | cached.keys()
            if actual.get(id_) != cached.get(id_)
        ]
    return sorted(found, key=lambda d: (d.uid, d.id))
