"""What the kubelet's own CRI client logs of a call that failed, before whoever made it says a word.

Follows remote_runtime.go of k8s.io/cri-client 0.37 and kuberuntime_manager.go: the first lines that people search for.
One container's or pod's same error is said once a minute (identicalErrorDelay).
"""

from __future__ import annotations

from typing import Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from cri.clock import MINUTE, Clock
from cri.v1 import api_pb2 as cri
from pleg.hooks import Hooks
from pleg.pods import Pod

IDENTICAL_ERROR_DELAY: Final = MINUTE

_SOURCE: Final = "remote_runtime.go"
_FAILED: Final = {
    "Version": "Version from runtime service failed",
    "Status": "Status from runtime service failed",
    "ListPodSandbox": "ListPodSandbox with filter from runtime service failed",
    "ListContainers": "ListContainers with filter from runtime service failed",
    "StreamPodSandboxes": "StreamPodSandboxes from runtime service failed",
    "StreamContainers": "StreamContainers from runtime service failed",
}


class Complaints:
    """Logs failures of one runtime, those that repeat themselves not each time."""

    def __init__(self, clock: Clock, hooks: Hooks) -> None:
        self._clock = clock
        self._hooks = hooks
        self._said: dict[str, tuple[str, int]] = {}

    def call_failed(self, rpc: str, request: Message, error: Exception) -> None:
        """An rpc ended with an error."""
        if isinstance(request, cri.ContainerStatusRequest):
            id_ = request.container_id
            if self._is_news(id_, error):
                text = "ContainerStatus from runtime service failed"
                self._hooks.log("E", _SOURCE, text, err=error, containerID=id_)
        elif isinstance(request, cri.PodSandboxStatusRequest):
            return  # kuberuntime tells of it
        elif rpc in _FAILED:
            if isinstance(request, cri.VersionRequest | cri.StatusRequest):
                self._hooks.log("E", _SOURCE, _FAILED[rpc], err=error)
            else:
                wanted = MessageToDict(request).get("filter", {})
                self._hooks.log("E", _SOURCE, _FAILED[rpc], err=error, filter=wanted)

    def call_succeeded(self, request: Message) -> None:
        """An rpc ended well: the next failure of that container is news again."""
        if isinstance(request, cri.ContainerStatusRequest):
            self._said.pop(request.container_id, None)

    def container_refused(self, container_id: str, error: Exception) -> None:
        """A container's status came and made no sense."""
        self._hooks.log("E", _SOURCE, "verify ContainerStatus failed", err=error, containerID=container_id)

    def sandbox_failed(self, sandbox_id: str, error: Exception) -> None:
        """A sandbox's status could not be had."""
        text = "PodSandboxStatus of sandbox for pod"
        self._hooks.log("E", "kuberuntime_manager.go", text, err=error, podSandboxID=sandbox_id)

    def pod_failed(self, pod: Pod, error: Exception) -> None:
        """The status of one of a pod's containers could not be had."""
        name = f"{pod.name}_{pod.namespace}"
        if self._is_news(name, error):
            text = "getPodContainerStatuses for pod failed"
            self._hooks.log("E", "kuberuntime_manager.go", text, err=error, pod=f"{pod.namespace}/{pod.name}")

    def pod_succeeded(self, pod: Pod) -> None:
        """A pod was inspected: its next failure is news again."""
        self._said.pop(f"{pod.name}_{pod.namespace}", None)

    def _is_news(self, about: str, error: Exception) -> bool:
        text, now = str(error), self._clock.monotonic()
        said = self._said.get(about)
        if said is not None and said[0] == text and now - said[1] < IDENTICAL_ERROR_DELAY:
            return False
        self._said[about] = (text, now)
        return True
