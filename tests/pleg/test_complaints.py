"""The kubelet's own lines of calls that failed, and how often the same one is said."""

from __future__ import annotations

from cri.clock import MINUTE, VIRTUAL_EPOCH, Clock
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as cri
from pleg.pods import Pod
from pleg.runtime.complaints import Complaints

from .support import Recording

DOWN = CriError(Code.UNAVAILABLE, "down")


class Said:
    """Complaints at a time that the test sets, and what was logged."""

    def __init__(self) -> None:
        self.now = 0
        self.hooks = Recording(clock := Clock(lambda: self.now, wall_base=VIRTUAL_EPOCH))
        self.complaints = Complaints(clock, self.hooks)

    def container(self, id_: str, error: Exception = DOWN) -> int:
        """How many lines there are after that container's status failed."""
        self.complaints.call_failed("ContainerStatus", cri.ContainerStatusRequest(container_id=id_), error)
        return len(self.hooks.logs("E"))


def test_one_containers_same_error_is_said_once_a_minute() -> None:
    said = Said()
    assert [said.container("a"), said.container("a"), said.container("b")] == [1, 1, 2]
    assert said.container("a", CriError(Code.UNKNOWN, "other")) == 3
    said.now = MINUTE
    assert said.container("b") == 4
    assert said.hooks.logs("E")[0] == "ContainerStatus from runtime service failed"


def test_after_a_good_answer_it_is_news_again() -> None:
    said = Said()
    said.container("a")
    said.complaints.call_succeeded(cri.ContainerStatusRequest(container_id="a"))
    assert said.container("a") == 2


def test_a_pods_failure_likewise() -> None:
    said, pod = Said(), Pod("uid", "web", "shop")
    said.complaints.pod_failed(pod, DOWN)
    said.complaints.pod_failed(pod, DOWN)
    said.complaints.pod_succeeded(pod)
    said.complaints.pod_failed(pod, DOWN)
    assert said.hooks.logs("E") == ["getPodContainerStatuses for pod failed"] * 2


def test_lists_say_what_they_asked_for_each_time() -> None:
    said = Said()
    wanted = cri.ListContainersRequest(filter=cri.ContainerFilter(label_selector={"io.kubernetes.pod.uid": "u"}))
    for _ in range(2):
        said.complaints.call_failed("ListContainers", wanted, DOWN)
    assert said.hooks.logs("E") == ["ListContainers with filter from runtime service failed"] * 2


def test_a_sandboxes_failure_is_kuberuntimes_to_tell() -> None:
    said = Said()
    said.complaints.call_failed("PodSandboxStatus", cri.PodSandboxStatusRequest(pod_sandbox_id="s"), DOWN)
    assert said.hooks.logs("E") == []
    said.complaints.sandbox_failed("s", DOWN)
    assert said.hooks.logs("E") == ["PodSandboxStatus of sandbox for pod"]
