"""Which metric each thing that happens moves, and under which labels."""

from __future__ import annotations

import pytest

from cri.clock import MILLISECOND, SECOND
from cri.methods import METHODS
from cri.transport import Code, CriError
from pleg.hooks import skip_panic
from pleg.observe.metrics import Metrics, operation_type
from pleg.pods import Call, ContainerState, EventType, PodLifecycleEvent

#: The labels of pkg/kubelet/kuberuntime/instrumented_services.go, Kubernetes 1.37.
KUBELETS = """\
version status create_container start_container stop_container remove_container list_containers
container_status
update_container reopen_container_log exec_sync exec attach run_podsandbox stop_podsandbox remove_podsandbox
podsandbox_status list_podsandbox container_stats list_container_stats podsandbox_stats list_podsandbox_stats
port_forward update_podsandbox_resources update_runtime_config list_images image_status pull_image remove_image
image_fs_info checkpoint_container checkpoint_pod restore_pod get_container_events list_metric_descriptors
list_podsandbox_metrics runtime_config"""

EVENT = PodLifecycleEvent("uid", EventType.CONTAINER_DIED, "id")
LOST = CriError(Code.UNAVAILABLE, "gone")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("node-1")


def value(metrics: Metrics, series: str) -> float | None:
    """The value of a series as the exposition writes it; None when it has no line."""
    for line in metrics.render().decode().splitlines():
        name, _, number = line.rpartition(" ")
        if name == series:
            return float(number)
    return None


def ended(metrics: Metrics, rpc: str, error: Exception | None = None, *, items: int = 0, caller: str = "pleg") -> None:
    metrics.call_ended(Call(rpc, caller, 0), 3 * MILLISECOND, error, 10, 1000, items)


def test_every_rpc_has_the_kubelets_label() -> None:
    assert {operation_type(rpc) for rpc in METHODS} == set(KUBELETS.split())
    assert operation_type("StreamPodSandboxes") == operation_type("ListPodSandbox") == "list_podsandbox"
    assert operation_type("StreamImages") == "list_images"


def test_a_call_is_counted_once_it_ended(metrics: Metrics) -> None:
    operations = 'kubelet_runtime_operations_total{operation_type="list_podsandbox"}'
    assert value(metrics, operations) is None
    ended(metrics, "ListPodSandbox", items=7)
    ended(metrics, "ListPodSandbox", items=5, caller="housekeeping")
    assert value(metrics, operations) == 2
    assert value(metrics, 'kubelet_runtime_operations_errors_total{operation_type="list_podsandbox"}') is None
    duration = 'kubelet_runtime_operations_duration_seconds_{}{{operation_type="list_podsandbox"}}'
    assert value(metrics, duration.format("sum")) == 0.006
    assert value(metrics, duration.format("count")) == 2
    labels = '{caller="housekeeping",rpc="ListPodSandbox"}'
    assert value(metrics, f"pleg_rpcs_total{labels}") == 1
    assert value(metrics, f"pleg_rpc_received_bytes_total{labels}") == 1000
    assert value(metrics, f"pleg_listed_items_total{labels}") == 5


def test_a_failed_call_is_counted_and_counted_as_an_error(metrics: Metrics) -> None:
    ended(metrics, "ContainerStatus", LOST)
    label = '{operation_type="container_status"}'
    assert value(metrics, f"kubelet_runtime_operations_total{label}") == 1
    assert value(metrics, f"kubelet_runtime_operations_errors_total{label}") == 1


def test_a_streamed_list_is_the_same_operation_as_the_unary_one(metrics: Metrics) -> None:
    ended(metrics, "StreamPodSandboxes")
    label = '{operation_type="list_podsandbox"}'
    assert value(metrics, f"kubelet_runtime_operations_total{label}") == 1
    # The kubelet's client goes unary within one operation, so an UNIMPLEMENTED one is not an operation of its own.
    ended(metrics, "StreamPodSandboxes", CriError(Code.UNIMPLEMENTED, "unknown method"))
    ended(metrics, "ListPodSandbox")
    assert value(metrics, f"kubelet_runtime_operations_total{label}") == 2
    assert value(metrics, f"kubelet_runtime_operations_errors_total{label}") is None
    assert value(metrics, 'pleg_rpcs_total{caller="pleg",rpc="StreamPodSandboxes"}') == 2


def test_every_end_of_the_event_stream_is_an_error(metrics: Metrics) -> None:
    ended(metrics, "GetContainerEvents")  # the kubelet's client returns io.EOF for a clean one
    ended(metrics, "GetContainerEvents", LOST)
    assert value(metrics, 'kubelet_runtime_operations_errors_total{operation_type="get_container_events"}') == 2


def test_relists(metrics: Metrics) -> None:
    metrics.relist_started(None)
    assert value(metrics, "kubelet_pleg_relist_interval_seconds_count") == 0
    metrics.relist_started(1020 * MILLISECOND)
    assert value(metrics, "kubelet_pleg_relist_interval_seconds_sum") == 1.02
    metrics.relist_ended(2 * SECOND, LOST)
    assert value(metrics, "kubelet_pleg_relist_duration_seconds_sum") == 2
    metrics.pod_relist_ended("uid", 5 * MILLISECOND, None)
    assert value(metrics, "kubelet_pleg_pod_relist_duration_seconds_count") == 1
    metrics.last_seen(1_700_000_000)
    assert value(metrics, "kubelet_pleg_last_seen_seconds") == 1.7e9
    metrics.event_discarded(EVENT)
    assert value(metrics, "kubelet_pleg_discard_events") == 1


def test_running_gauges_stick_and_can_be_moved(metrics: Metrics) -> None:
    metrics.running_pods(3)
    metrics.running_pods(-1, relative=True)
    assert value(metrics, "kubelet_running_pods") == 2
    metrics.running_containers(ContainerState.RUNNING, 4)
    metrics.running_containers(ContainerState.EXITED, 1, relative=True)
    metrics.running_containers(ContainerState.RUNNING, 2, relative=True)
    assert value(metrics, 'kubelet_running_containers{container_state="running"}') == 6
    assert value(metrics, 'kubelet_running_containers{container_state="exited"}') == 1
    assert value(metrics, 'kubelet_running_containers{container_state="created"}') is None


def test_the_event_stream(metrics: Metrics) -> None:
    metrics.stream_connected()
    metrics.stream_ended(LOST)
    metrics.container_event_latency(-5 * MILLISECOND)  # the runtime's clock is ahead
    metrics.container_event_overflowed()
    assert value(metrics, "kubelet_evented_pleg_connection_success_count") == 1
    assert value(metrics, "kubelet_evented_pleg_connection_error_count") == 1
    assert value(metrics, 'kubelet_evented_pleg_connection_latency_seconds_bucket{le="0.005"}') == 1
    assert value(metrics, "kubelet_evented_pleg_connection_latency_seconds_sum") == -0.005
    assert value(metrics, "pleg_stream_events_dropped_total") == 1


def test_steps_at_which_the_kubelet_panics_are_counted(metrics: Metrics) -> None:
    assert value(metrics, "pleg_upstream_panics_total") == 0
    skip_panic(metrics, "evented.go", "nil PodStatus in the cache")
    assert value(metrics, "pleg_upstream_panics_total") == 1


def test_workers_cache_and_loop(metrics: Metrics) -> None:
    metrics.pod_worker_started("uid", 2 * MILLISECOND)
    metrics.pod_synced("uid", 40 * MILLISECOND)
    metrics.cache_set("uid", True)
    metrics.cache_set("uid", False)
    metrics.sync_skipped("PLEG is not healthy", 100 * MILLISECOND)
    assert value(metrics, "kubelet_pod_worker_start_duration_seconds_count") == 1
    assert value(metrics, 'kubelet_pod_worker_duration_seconds_bucket{operation_type="sync",le="0.05"}') == 1
    assert value(metrics, 'pleg_cache_writes_total{accepted="true"}') == 1
    assert value(metrics, 'pleg_cache_writes_total{accepted="false"}') == 1
    assert value(metrics, "pleg_sync_loop_skips_total") == 1


def test_two_nodes_in_one_process_share_nothing() -> None:
    first, second = Metrics("a"), Metrics("b")
    first.running_pods(1)
    assert value(second, "kubelet_running_pods") == 0
    assert value(second, 'kubelet_node_name{node="b"}') == 1
