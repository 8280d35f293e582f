"""The exposition, letter by letter: what a kubelet of 1.37 writes, and what Go makes of numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from cri.clock import MILLISECOND, SECOND
from pleg.observe.exposition import go_float, render
from pleg.observe.metrics import Metrics
from pleg.pods import Call, ContainerState

#: Every header of a kubelet's that is shown once each vector has a child.
HEADERS = """\
# HELP kubelet_evented_pleg_connection_error_count [ALPHA] The number of errors encountered during the establishment \
of streaming connection with the CRI runtime.
# TYPE kubelet_evented_pleg_connection_error_count counter
# HELP kubelet_evented_pleg_connection_latency_seconds [ALPHA] The latency of streaming connection with the CRI \
runtime, measured in seconds.
# TYPE kubelet_evented_pleg_connection_latency_seconds histogram
# HELP kubelet_evented_pleg_connection_success_count [ALPHA] The number of times a streaming client was obtained to \
receive CRI Events.
# TYPE kubelet_evented_pleg_connection_success_count counter
# HELP kubelet_node_name [ALPHA] The node's name. The count is always 1.
# TYPE kubelet_node_name gauge
# HELP kubelet_pleg_discard_events [ALPHA] The number of discard events in PLEG.
# TYPE kubelet_pleg_discard_events counter
# HELP kubelet_pleg_last_seen_seconds [ALPHA] Timestamp in seconds when PLEG was last seen active.
# TYPE kubelet_pleg_last_seen_seconds gauge
# HELP kubelet_pleg_pod_relist_duration_seconds [ALPHA] Duration in seconds for relisting a single pod in PLEG.
# TYPE kubelet_pleg_pod_relist_duration_seconds histogram
# HELP kubelet_pleg_relist_duration_seconds [ALPHA] Duration in seconds for relisting pods in PLEG.
# TYPE kubelet_pleg_relist_duration_seconds histogram
# HELP kubelet_pleg_relist_interval_seconds [ALPHA] Interval in seconds between relisting in PLEG.
# TYPE kubelet_pleg_relist_interval_seconds histogram
# HELP kubelet_pod_worker_duration_seconds [ALPHA] Duration in seconds to sync a single pod. Broken down by operation \
type: create, update, or sync
# TYPE kubelet_pod_worker_duration_seconds histogram
# HELP kubelet_pod_worker_start_duration_seconds [ALPHA] Duration in seconds from kubelet seeing a pod to starting a \
worker.
# TYPE kubelet_pod_worker_start_duration_seconds histogram
# HELP kubelet_running_containers [ALPHA] Number of containers currently running
# TYPE kubelet_running_containers gauge
# HELP kubelet_running_pods [ALPHA] Number of pods that have a running pod sandbox
# TYPE kubelet_running_pods gauge
# HELP kubelet_runtime_operations_duration_seconds [ALPHA] Duration in seconds of runtime operations. Broken down by \
operation type.
# TYPE kubelet_runtime_operations_duration_seconds histogram
# HELP kubelet_runtime_operations_errors_total [ALPHA] Cumulative number of runtime operation errors by operation type.
# TYPE kubelet_runtime_operations_errors_total counter
# HELP kubelet_runtime_operations_total [ALPHA] Cumulative number of runtime operations by operation type.
# TYPE kubelet_runtime_operations_total counter
"""

#: Vectors: without a child the kubelet shows nothing of them.
VECTORS = {
    "kubelet_running_containers",
    "kubelet_pod_worker_duration_seconds",
    "kubelet_runtime_operations_total",
    "kubelet_runtime_operations_errors_total",
    "kubelet_runtime_operations_duration_seconds",
}


def used() -> Metrics:
    """Metrics of which every vector has a child."""
    metrics = Metrics("node-1")
    metrics.running_containers(ContainerState.RUNNING, 2)
    metrics.pod_synced("uid", 700 * MILLISECOND)
    metrics.call_ended(Call("ListPodSandbox", "pleg", 0), 3 * MILLISECOND, OSError(), 1, 2, 3)
    return metrics


def headers(metrics: Metrics) -> list[str]:
    return [line for line in metrics.render().decode().splitlines() if line.startswith("# ") and " kubelet_" in line]


def test_headers_are_a_kubelets() -> None:
    assert headers(used()) == HEADERS.splitlines()


def test_everything_but_empty_vectors_is_there_from_the_start() -> None:
    expected = [line for line in HEADERS.splitlines() if line.split()[2] not in VECTORS]
    assert headers(Metrics("node-1")) == expected
    assert b'\nkubelet_node_name{node="node-1"} 1\n' in Metrics("node-1").render()


def test_a_histogram_is_buckets_sum_count_with_go_bounds() -> None:
    metrics = Metrics("n")
    metrics.relist_ended(30 * MILLISECOND, None)
    metrics.relist_ended(12 * SECOND, None)
    name = "kubelet_pleg_relist_duration_seconds"
    bounds = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10"]
    counts = [0, 0, 0] + [1] * 8
    lines = [f'{name}_bucket{{le="{bound}"}} {count}' for bound, count in zip(bounds, counts, strict=True)]
    lines += [f'{name}_bucket{{le="+Inf"}} 2', f"{name}_sum 12.03", f"{name}_count 2"]
    assert [line for line in metrics.render().decode().splitlines() if line.startswith(name)] == lines


def test_operation_buckets_are_goes_to_the_last_digit() -> None:
    bounds = [
        line.split('le="')[1].split('"')[0]
        for line in used().render().decode().splitlines()
        if line.startswith("kubelet_runtime_operations_duration_seconds_bucket")
    ]
    assert " ".join(bounds) == (
        "0.005 0.0125 0.03125 0.078125 0.1953125 0.48828125 1.220703125 3.0517578125 7.62939453125 19.073486328125 "
        "47.6837158203125 119.20928955078125 298.0232238769531 745.0580596923828 +Inf"
    )


def test_counters_keep_the_kubelets_names_and_nothing_is_created() -> None:
    text = used().render().decode()
    for name in ("discard_events", "evented_x"):
        assert f"{name}_total" not in text
    assert "\nkubelet_pleg_discard_events 0\n" in text
    assert "\nkubelet_evented_pleg_connection_error_count 0\n" in text
    assert "\nkubelet_evented_pleg_connection_success_count 0\n" in text
    assert "_created" not in text


def test_prometheus_own_parser_reads_it() -> None:
    families = {family.name: family for family in text_string_to_metric_families(used().render().decode())}
    assert families["kubelet_pleg_relist_interval_seconds"].type == "histogram"
    assert families["kubelet_running_pods"].type == "gauge"
    assert families["process_cpu_seconds"].type == "counter"
    assert {"process_resident_memory_bytes", "process_start_time_seconds"} <= families.keys()


def test_names_labels_and_children_are_sorted_and_escaped() -> None:
    registry = CollectorRegistry()
    counter = Counter("b_things", 'back\\slash\nnew "line"', ("zone", "area"), registry=registry)
    counter.labels('z"1\n', "b").inc()
    counter.labels("a\\", "a").inc(2)
    Gauge("a_thing", "first", registry=registry).set(float("nan"))
    Histogram("c_seconds", "h", ("op",), buckets=(1.0,), registry=registry).labels("x").observe(1)
    assert render(registry).decode() == (
        "# HELP a_thing first\n# TYPE a_thing gauge\na_thing NaN\n"
        '# HELP b_things_total back\\\\slash\\nnew "line"\n# TYPE b_things_total counter\n'
        'b_things_total{area="a",zone="a\\\\"} 2\nb_things_total{area="b",zone="z\\"1\\n"} 1\n'
        '# HELP c_seconds h\n# TYPE c_seconds histogram\nc_seconds_bucket{op="x",le="1"} 1\n'
        'c_seconds_bucket{op="x",le="+Inf"} 1\nc_seconds_sum{op="x"} 1\nc_seconds_count{op="x"} 1\n'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (-1.0, "-1"),
        (1.5, "1.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (999999.0, "999999"),
        (999999.5, "999999.5"),
        (1e6, "1e+06"),
        (-1e6, "-1e+06"),
        (1234567.0, "1.234567e+06"),
        (1700000000.0, "1.7e+09"),
        (1767225600.25, "1.76722560025e+09"),
        (1e15, "1e+15"),
        (1e16, "1e+16"),
        (1.5e300, "1.5e+300"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1.25e-7, "1.25e-07"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_numbers_are_goes(value: float, text: str) -> None:
    assert go_float(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_reads_back_as_itself(value: float) -> None:
    text = go_float(value)
    assert float(text) == value
    # 'g' with the shortest digits takes an exponent below 1e-04 and from 1e+06 on.
    assert ("e" in text) == (value != 0 and not 1e-4 <= abs(value) < 1e6)
