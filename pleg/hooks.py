"""What can be observed: one method per thing that happens. Metrics, recorders and the live view implement some of it.

Every method does nothing here; an observer overrides those it cares for, must not block and must not raise.
Durations are nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pleg.pods import Call, ContainerEvent, ContainerState, PodLifecycleEvent


class Hooks:
    """The observer that ignores everything."""

    # --- log lines -------------------------------------------------------------------------------------------

    def log(self, severity: str, source: str, message: str, /, v: int = 0, **values: object) -> None:
        """A kubelet log line: severity I, W or E, the upstream file, klog's message and its keys and values."""

    # --- calls to the runtime --------------------------------------------------------------------------------

    def call_started(self, call: Call) -> None:
        """An rpc leaves for the runtime."""

    def call_ended(
        self, call: Call, duration: int, error: Exception | None, sent: int, received: int, items: int
    ) -> None:
        """It is over. `sent` and `received` are bytes of messages, `items` is the number of listed objects."""

    # --- relists ---------------------------------------------------------------------------------------------

    def relist_started(self, interval: int | None) -> None:
        """A global relist begins, `interval` after the start of the last successful one (None: there was none)."""

    def relist_ended(self, duration: int, error: Exception | None) -> None:
        """A global relist ends; `error` is why the pods could not be listed."""

    def pod_relist_ended(self, uid: str, duration: int, error: Exception | None) -> None:
        """A one-pod relist ends."""

    def pod_inspected(self, uid: str, error: Exception | None) -> None:
        """GetPodStatus of one pod came back."""

    def last_seen(self, unix_seconds: int) -> None:
        """A health check looked at the time of the last good relist."""

    def running_pods(self, count: int, *, relative: bool = False) -> None:
        """Pods with a running sandbox; `relative` adds to what was said before."""

    def running_containers(self, state: ContainerState, count: int, *, relative: bool = False) -> None:
        """Containers in a state; `relative` adds to what was said before."""

    # --- the event stream ------------------------------------------------------------------------------------

    def stream_connected(self) -> None:
        """The client of an event stream exists; the server has not answered yet."""

    def stream_ended(self, error: Exception) -> None:
        """An event stream, or the attempt to open one, came to its end; a clean end is an error too."""

    def container_event_received(self, event: ContainerEvent) -> None:
        """The runtime's own event arrived in the buffer."""

    def container_event_latency(self, latency: int) -> None:
        """An event is processed this long after it was created; negative where the clocks differ."""

    def container_event_overflowed(self) -> None:
        """The stream's buffer was full and an event was dropped rather than the runtime blocked."""

    def upstream_panic(self, what: str) -> None:
        """The kubelet would have crashed on `what`, a nil of its own; this step was skipped instead."""

    # --- cache, channel, loop --------------------------------------------------------------------------------

    def cache_set(self, uid: str, accepted: bool) -> None:
        """Somebody wrote the pod cache; a refused write was older than the entry."""

    def event_sent(self, event: PodLifecycleEvent) -> None:
        """A pod lifecycle event entered the channel."""

    def event_discarded(self, event: PodLifecycleEvent) -> None:
        """The channel was full; the event is lost for good."""

    def event_read(self, event: PodLifecycleEvent, namespace: str, name: str) -> None:
        """The sync loop took an event out of the channel."""

    def sync_skipped(self, error: str, pause: int) -> None:
        """The sync loop reads nothing and pauses, for the runtime has errors."""

    def pod_worker_started(self, uid: str, delay: int) -> None:
        """A worker begins to work on a pod, `delay` after the pod was first seen."""

    def pod_synced(self, uid: str, duration: int) -> None:
        """A worker is done with one update, `duration` after that was handed to it."""

    def node_condition(self, type_: str, status: str, reason: str, message: str, changed: bool) -> None:
        """Node status was computed; `changed` when the status flipped."""


#: What Go's runtime says of a nil that was followed.
_NIL: Final = "runtime error: invalid memory address or nil pointer dereference"


def skip_panic(hooks: Hooks, source: str, what: str) -> None:
    """Log and count a step at which upstream's `source` panics on `what`, and which is left out here."""
    hooks.log("E", source, "Observed a panic", panic=_NIL, skipped=what)
    hooks.upstream_panic(what)


class Fanout(Hooks):
    """Passes everything on to several observers, in their order."""

    def __init__(self, observers: Sequence[Hooks]) -> None:
        for name, method in vars(Hooks).items():
            if name.startswith("_") or not callable(method):
                continue
            listening = [getattr(o, name) for o in observers if getattr(type(o), name) is not method]
            if len(listening) == 1:
                setattr(self, name, listening[0])
            elif listening:
                setattr(self, name, _call_all(listening))


def _call_all(listening: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def call(*args: object, **kwargs: object) -> None:
        for method in listening:
            method(*args, **kwargs)

    return call
