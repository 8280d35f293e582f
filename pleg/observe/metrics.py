"""The kubelet's metrics of the PLEG, its runtime calls and its workers, and some of our own under `pleg_`.

Follows pkg/kubelet/metrics/metrics.go and pkg/kubelet/kuberuntime/instrumented_services.go of Kubernetes 1.37: names,
types, labels, buckets and help are the kubelet's, no label is added to them. What needs pod specs, images or an API
server (`kubelet_desired_pods`, `kubelet_pod_start_duration_seconds`, ...) has no meaning here and is left out.
"""

from __future__ import annotations

import re
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from cri.clock import seconds
from cri.transport import Code, CriError
from pleg.hooks import Hooks
from pleg.observe import exposition
from pleg.pods import Call, ContainerState, PodLifecycleEvent

#: Prometheus' default buckets (client_golang's; prometheus_client has others).
DEFAULT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def exponential_buckets(start: float, factor: float, count: int) -> tuple[float, ...]:
    """As client_golang computes them: by repeated multiplication, so that the last digits agree."""
    bounds = [start]
    for _ in range(count - 1):
        bounds.append(bounds[-1] * factor)
    return tuple(bounds)


#: Buckets of kubelet_runtime_operations_duration_seconds.
OPERATION_BUCKETS: Final = exponential_buckets(0.005, 2.5, 14)

_IRREGULAR: Final = {"StreamPodSandboxes": "list_podsandbox", "UpdateContainerResources": "update_container"}


def operation_type(rpc: str) -> str:
    """The kubelet's label for an rpc: ``list_podsandbox`` for ListPodSandbox.

    A streamed list has the label of the unary one: the kubelet measures one floor above the choice between them.
    """
    if rpc in _IRREGULAR:
        return _IRREGULAR[rpc]
    words = re.sub("(?<=[a-z])(?=[A-Z])", "_", re.sub("^Stream", "List", rpc))
    return words.lower().replace("pod_sandbox", "podsandbox")


class Metrics(Hooks):
    """Counts into a registry of its own; values may be read from any thread."""

    def __init__(self, node_name: str) -> None:
        self.registry = registry = CollectorRegistry()
        self._operations = _Operations(registry)
        self._rpcs = Counter("pleg_rpcs", "Calls to the runtime that ended.", ("rpc", "caller"), registry=registry)
        self._received = Counter(
            "pleg_rpc_received_bytes", "Bytes of messages received.", ("rpc", "caller"), registry=registry
        )
        self._items = Counter(
            "pleg_listed_items", "Objects in list answers, and events.", ("rpc", "caller"), registry=registry
        )
        self._calls: dict[tuple[str, str], _Calls] = {}

        self._relist_duration = _histogram(
            registry, "kubelet_pleg_relist_duration_seconds", "Duration in seconds for relisting pods in PLEG."
        )
        self._relist_interval = _histogram(
            registry, "kubelet_pleg_relist_interval_seconds", "Interval in seconds between relisting in PLEG."
        )
        self._pod_relist_duration = _histogram(
            registry,
            "kubelet_pleg_pod_relist_duration_seconds",
            "Duration in seconds for relisting a single pod in PLEG.",
        )
        self._last_seen = _gauge(
            registry, "kubelet_pleg_last_seen_seconds", "Timestamp in seconds when PLEG was last seen active."
        )
        self._discarded = _counter(registry, "kubelet_pleg_discard_events", "The number of discard events in PLEG.")

        self._connection_errors = _counter(
            registry,
            "kubelet_evented_pleg_connection_error_count",
            "The number of errors encountered during the establishment of streaming connection with the CRI runtime.",
        )
        self._connections = _counter(
            registry,
            "kubelet_evented_pleg_connection_success_count",
            "The number of times a streaming client was obtained to receive CRI Events.",
        )
        self._event_latency = _histogram(
            registry,
            "kubelet_evented_pleg_connection_latency_seconds",
            "The latency of streaming connection with the CRI runtime, measured in seconds.",
        )
        self._overflowed = Counter(
            "pleg_stream_events_dropped",
            "Runtime events dropped because the stream's buffer was full.",
            registry=registry,
        )

        self._panics = Counter(
            "pleg_upstream_panics", "Steps left out because the kubelet panics at them.", registry=registry
        )

        self._running_pods = _gauge(registry, "kubelet_running_pods", "Number of pods that have a running pod sandbox")
        self._running_containers = Gauge(
            "kubelet_running_containers",
            "[ALPHA] Number of containers currently running",
            ("container_state",),
            registry=registry,
        )
        self._containers: dict[ContainerState, Gauge] = {}

        self._worker_duration = Histogram(
            "kubelet_pod_worker_duration_seconds",
            "[ALPHA] Duration in seconds to sync a single pod. Broken down by operation type: create, update, or sync",
            ("operation_type",),
            buckets=DEFAULT_BUCKETS,
            registry=registry,
        )
        self._sync_duration: Histogram | None = None
        self._worker_start = _histogram(
            registry,
            "kubelet_pod_worker_start_duration_seconds",
            "Duration in seconds from kubelet seeing a pod to starting a worker.",
        )
        name = Gauge(
            "kubelet_node_name",
            "[ALPHA] The node's name. The count is always 1.",
            ("node",),
            registry=registry,
        )
        name.labels(node_name).set(1)

        writes = Counter(
            "pleg_cache_writes",
            "Writes to the pod cache; refused ones were older than the entry.",
            ("accepted",),
            registry=registry,
        )
        self._accepted, self._refused = writes.labels("true"), writes.labels("false")
        self._skips = Counter(
            "pleg_sync_loop_skips",
            "Turns in which the sync loop read nothing, for the runtime had errors.",
            registry=registry,
        )
        ProcessCollector(registry=registry)

    def render(self) -> bytes:
        """The text for a scrape; not on the PLEG's own thread."""
        return exposition.render(self.registry)

    # --- hooks -----------------------------------------------------------------------------------------------

    def call_ended(
        self, call: Call, duration: int, error: Exception | None, sent: int, received: int, items: int
    ) -> None:
        key = (call.rpc, call.caller)
        calls = self._calls.get(key)
        if calls is None:
            calls = self._calls[key] = _Calls(self, call.rpc, call.caller)
        calls.count.inc()
        calls.received.inc(received)
        if items:
            if calls.items is None:
                calls.items = self._items.labels(call.rpc, call.caller)
            calls.items.inc(items)
        if error is not None and calls.streamed_list and _unimplemented(error):
            return  # the kubelet's client goes unary within the same operation
        self._operations.ended(calls.operation, duration, failed=error is not None or calls.endless)

    def relist_started(self, interval: int | None) -> None:
        if interval is not None:
            self._relist_interval.observe(seconds(interval))

    def relist_ended(self, duration: int, error: Exception | None) -> None:
        self._relist_duration.observe(seconds(duration))

    def pod_relist_ended(self, uid: str, duration: int, error: Exception | None) -> None:
        self._pod_relist_duration.observe(seconds(duration))

    def last_seen(self, unix_seconds: int) -> None:
        self._last_seen.set(unix_seconds)

    def running_pods(self, count: int, *, relative: bool = False) -> None:
        if relative:
            self._running_pods.inc(count)
        else:
            self._running_pods.set(count)

    def running_containers(self, state: ContainerState, count: int, *, relative: bool = False) -> None:
        gauge = self._containers.get(state)
        if gauge is None:
            gauge = self._containers[state] = self._running_containers.labels(str(state))
        if relative:
            gauge.inc(count)
        else:
            gauge.set(count)

    def stream_connected(self) -> None:
        self._connections.inc()

    def stream_ended(self, error: Exception) -> None:
        self._connection_errors.inc()

    def container_event_latency(self, latency: int) -> None:
        self._event_latency.observe(seconds(latency))

    def container_event_overflowed(self) -> None:
        self._overflowed.inc()

    def upstream_panic(self, what: str) -> None:
        self._panics.inc()

    def cache_set(self, uid: str, accepted: bool) -> None:
        (self._accepted if accepted else self._refused).inc()

    def event_discarded(self, event: PodLifecycleEvent) -> None:
        self._discarded.inc()

    def sync_skipped(self, error: str, pause: int) -> None:
        self._skips.inc()

    def pod_worker_started(self, uid: str, delay: int) -> None:
        self._worker_start.observe(seconds(delay))

    def pod_synced(self, uid: str, duration: int) -> None:
        if self._sync_duration is None:
            self._sync_duration = self._worker_duration.labels("sync")
        self._sync_duration.observe(seconds(duration))


class _Calls:
    """The counters of one rpc by one caller, looked up once."""

    __slots__ = ("count", "endless", "items", "operation", "received", "streamed_list")

    def __init__(self, metrics: Metrics, rpc: str, caller: str) -> None:
        self.count = metrics._rpcs.labels(rpc, caller)
        self.received = metrics._received.labels(rpc, caller)
        self.items: Counter | None = None
        self.operation = operation_type(rpc)
        self.streamed_list = rpc.startswith("Stream")
        #: Every end of the event stream is an error to the kubelet's client, a clean one (io.EOF) too.
        self.endless = rpc == "GetContainerEvents"


class _Operations:
    """kubelet_runtime_operations_*: a label has a line from the first operation, or the first error, on."""

    def __init__(self, registry: CollectorRegistry) -> None:
        label = ("operation_type",)
        self._total = Counter(
            "kubelet_runtime_operations",
            "[ALPHA] Cumulative number of runtime operations by operation type.",
            label,
            registry=registry,
        )
        self._errors = Counter(
            "kubelet_runtime_operations_errors",
            "[ALPHA] Cumulative number of runtime operation errors by operation type.",
            label,
            registry=registry,
        )
        self._durations = Histogram(
            "kubelet_runtime_operations_duration_seconds",
            "[ALPHA] Duration in seconds of runtime operations. Broken down by operation type.",
            label,
            buckets=OPERATION_BUCKETS,
            registry=registry,
        )
        self._known: dict[str, tuple[Counter, Histogram]] = {}

    def ended(self, operation: str, duration: int, *, failed: bool) -> None:
        known = self._known.get(operation)
        if known is None:
            known = self._known[operation] = (self._total.labels(operation), self._durations.labels(operation))
        if failed:
            self._errors.labels(operation).inc()
        known[0].inc()
        known[1].observe(seconds(duration))


def _unimplemented(error: Exception) -> bool:
    return isinstance(error, CriError) and error.code is Code.UNIMPLEMENTED


def _histogram(registry: CollectorRegistry, name: str, help_text: str) -> Histogram:
    return Histogram(name, f"[ALPHA] {help_text}", buckets=DEFAULT_BUCKETS, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, help_text: str) -> Gauge:
    return Gauge(name, f"[ALPHA] {help_text}", registry=registry)


def _counter(registry: CollectorRegistry, name: str, help_text: str) -> Counter:
    return Counter(name, f"[ALPHA] {help_text}", registry=registry)
