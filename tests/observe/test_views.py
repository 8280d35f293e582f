"""What a node's state looks like as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from cri.clock import SECOND
from pleg.observe import views
from pleg.pods import Call, ContainerState

from .node import EPOCH, Node, container, pod_status

RUNNING, EXITED, CREATED, UNKNOWN = (
    ContainerState.RUNNING,
    ContainerState.EXITED,
    ContainerState.CREATED,
    ContainerState.UNKNOWN,
)


def pods(node: Node) -> list[dict[str, Any]]:
    shown = json.loads(views.pods(node.views()))
    assert (shown["kind"], shown["apiVersion"], shown["metadata"]) == ("PodList", "v1", {})
    items: list[dict[str, Any]] = shown["items"]
    return items


@pytest.mark.parametrize(
    ("containers", "phase"),
    [
        ((), "Pending"),
        (((CREATED, 0),), "Pending"),
        (((UNKNOWN, 0),), "Pending"),
        (((EXITED, 0), (CREATED, 0)), "Pending"),
        (((RUNNING, 0),), "Running"),
        (((EXITED, 1), (RUNNING, 0)), "Running"),
        (((CREATED, 0), (RUNNING, 0)), "Running"),
        (((EXITED, 0), (EXITED, 0)), "Succeeded"),
        (((EXITED, 0), (EXITED, 137)), "Failed"),
    ],
)
def test_phase(containers: tuple[tuple[ContainerState, int], ...], phase: str) -> None:
    statuses = [container(f"c{n}", state, code) for n, (state, code) in enumerate(containers)]
    assert views.phase(statuses) == phase


def test_a_pod_as_v1() -> None:
    node = Node()
    status = pod_status(container("app", RUNNING), container("init", EXITED, 0, reason="Completed"))
    node.cache.set("uid-1", status, None, EPOCH)
    assert pods(node) == [
        {
            "metadata": {
                "name": "web",
                "namespace": "default",
                "uid": "uid-1",
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                "containers": [{"name": "app", "image": "shop:v1"}, {"name": "init", "image": "shop:v1"}],
                "nodeName": "node-1",
            },
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.1",
                "podIPs": [{"ip": "10.0.0.1"}],
                "containerStatuses": [
                    {
                        "name": "app",
                        "state": {"running": {"startedAt": "2026-01-01T00:00:01Z"}},
                        "lastState": {},
                        "ready": True,
                        "restartCount": 3,
                        "image": "shop:v1",
                        "imageID": "shop@sha256:1",
                        "containerID": "app@0",
                        "started": True,
                    },
                    {
                        "name": "init",
                        "state": {
                            "terminated": {
                                "exitCode": 0,
                                "reason": "Completed",
                                "startedAt": "2026-01-01T00:00:01Z",
                                "finishedAt": "2026-01-01T00:00:02Z",
                                "containerID": "init@0",
                            }
                        },
                        "lastState": {},
                        "ready": False,
                        "restartCount": 3,
                        "image": "shop:v1",
                        "imageID": "shop@sha256:1",
                        "containerID": "init@0",
                        "started": False,
                    },
                ],
            },
        }
    ]


def test_of_several_generations_the_newest_is_shown_with_the_one_before() -> None:
    node = Node()
    old = container("app", EXITED, 137, created_at=EPOCH, reason="OOMKilled")
    new = container("app", RUNNING, created_at=EPOCH + 10 * SECOND)
    node.cache.set("uid-1", pod_status(old, new), None, EPOCH)
    (shown,) = pods(node)[0]["status"]["containerStatuses"]
    assert shown["containerID"] == new.id
    assert shown["lastState"]["terminated"]["reason"] == "OOMKilled"
    assert pods(node)[0]["status"]["phase"] == "Running"


def test_ids_begin_with_the_runtimes_name_once_it_is_known() -> None:
    node = Node()
    node.cache.set("uid-1", pod_status(container("app", EXITED)), None, EPOCH)
    named = dataclasses.replace(node.views(), runtime_name=lambda: "containerd")
    (shown,) = json.loads(views.pods(named))["items"][0]["status"]["containerStatuses"]
    assert shown["containerID"] == "containerd://app@0"
    assert shown["state"]["terminated"]["containerID"] == "containerd://app@0"


def test_containers_that_do_not_run_yet_wait() -> None:
    node = Node()
    node.cache.set("uid-1", pod_status(container("a", CREATED), container("b", UNKNOWN), ips=()), None, EPOCH)
    status = pods(node)[0]["status"]
    assert [c["state"] for c in status["containerStatuses"]] == [{"waiting": {}}, {"waiting": {}}]
    assert "podIP" not in status


def test_a_pod_that_could_not_be_inspected() -> None:
    node = Node()
    node.cache.set("uid-1", None, OSError("no such shim"), EPOCH)
    shown = pods(node)[0]
    assert shown["metadata"]["uid"] == "uid-1"
    assert shown["status"] == {"phase": "Unknown", "message": "no such shim"}


def test_the_cache_as_it_is() -> None:
    node = Node()
    status = pod_status(container("app", RUNNING))
    node.cache.set("uid-1", status, None, EPOCH + 1)
    node.cache.set("uid-2", None, OSError("broken"), EPOCH + 2)
    node.cache.set_observed_time("uid-1", EPOCH + 3)
    shown = json.loads(views.cache(node.views()))
    assert (shown["time"], shown["time_ns"]) == (None, None)
    node.cache.update_time(EPOCH + 4)
    shown = json.loads(views.cache(node.views()))
    assert (shown["time"], shown["time_ns"]) == ("2026-01-01T00:00:00.000000004Z", EPOCH + 4)
    assert shown["entries"]["uid-2"] == {
        "status": None,
        "error": "broken",
        "modified": "2026-01-01T00:00:00.000000002Z",
        "modified_ns": EPOCH + 2,
        "observed": "2026-01-01T00:00:00.000000002Z",
        "observed_ns": EPOCH + 2,
    }
    entry = shown["entries"]["uid-1"]
    assert (entry["error"], entry["modified_ns"], entry["observed_ns"]) == (None, EPOCH + 1, EPOCH + 3)
    assert entry["status"]["timestamp"] == EPOCH + 9
    assert entry["status"]["containers"][0]["state"] == "running"
    assert entry["status"]["sandboxes"][0]["state"] == "SANDBOX_READY"
    assert entry["status"]["active_containers"] == ["app@0"]


def test_node_conditions_and_what_is_waited_for() -> None:
    node = Node()
    node.blocking = [Call("ContainerStatus", "pleg", EPOCH + 7, pod="default/web", container="app")]
    assert json.loads(views.node(node.views())) == {
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "lastHeartbeatTime": "2026-01-01T00:00:10Z",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
                "reason": "KubeletReady",
                "message": "kubelet is posting ready status",
            }
        ],
        "blocking": [
            {
                "rpc": "ContainerStatus",
                "pod": "default/web",
                "container": "app",
                "since": "2026-01-01T00:00:00.000000007Z",
            }
        ],
    }


def test_nothing_is_json_too() -> None:
    node = Node(conditions=[])
    assert json.loads(views.node(node.views())) == {"conditions": [], "blocking": []}
    assert json.loads(views.cache(node.views())) == {"time": None, "time_ns": None, "entries": {}}
    assert json.loads(views.events(node.views())) == []
    assert pods(node) == []


def test_names_that_are_no_text_do_not_break_the_json() -> None:
    node = Node(events=['{"name": "\ud800"}'])
    assert json.loads(views.events(node.views())) == [{"name": "\ud800"}]
    node.cache.set('u"1\\', pod_status(uid='u"1\\'), None, EPOCH)
    assert list(json.loads(views.cache(node.views()))["entries"]) == ['u"1\\']
