"""A real kubelet without an API server: static pods from a folder, over any runtime's socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .exposition import Metrics, scrape
from .images import FOREVER, IMAGE
from .processes import PEERS, Program, fetch, free_port, unmount_below, wait_until

KUBELET = PEERS / "kubelet"
NODE = "peer-node"
NAMESPACE = "peers"
_EVICTION_SIGNALS = (
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
)


def _configuration(folder: Path, endpoint: str, port: int, read_only: int, evented: bool) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "staticPodPath": str(folder / "manifests"),
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        "containerRuntimeEndpoint": endpoint,
        "address": "127.0.0.1",
        "port": port,
        "readOnlyPort": read_only,
        # Port 10248 is the machine's own kubelet's, and what `pleg run --pleg evented` asks about.
        "healthzPort": 0,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        # The machine is a guest here: no cgroups of its own, no eviction, no swap or disk rules.
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "failCgroupV1": False,
        "localStorageCapacityIsolation": False,
        "evictionHard": dict.fromkeys(_EVICTION_SIGNALS, "0%"),
        "imageGCHighThresholdPercent": 100,
        # All pods come at once; the fake pulls an image for each without a registry to spare.
        "registryPullQPS": 0,
        "resolvConf": "",
        "featureGates": {"EventedPLEG": evented},
    }


def _manifest(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "hostNetwork": True,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "main",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", FOREVER],
                }
            ],
        },
    }


def pods_by_name(url: str) -> dict[str, Mapping[str, Any]]:
    """The v1 PodList that a kubelet serves, by the names of the manifests."""
    text = fetch(f"{url}/pods")
    items = json.loads(text)["items"] or [] if text else []
    return {pod["metadata"]["name"].removesuffix(f"-{NODE}"): pod for pod in items}


class Kubelet:
    """A running kubelet."""

    def __init__(self, folder: Path, endpoint: str, *, evented: bool = False) -> None:
        folder.mkdir()
        self.folder = folder
        self.manifests = folder / "manifests"
        self.manifests.mkdir()
        port, read_only = free_port(), free_port()
        self.url = f"http://127.0.0.1:{read_only}"
        configuration = folder / "kubelet.yaml"
        configuration.write_text(yaml.safe_dump(_configuration(folder, endpoint, port, read_only, evented)))
        self.program = Program(
            [
                KUBELET,
                f"--config={configuration}",
                f"--root-dir={folder / 'root'}",
                f"--cert-dir={folder / 'pki'}",
                f"--hostname-override={NODE}",
                "--v=4",
            ],
            folder / "kubelet.log",
        )
        try:
            wait_until(self._answers, "the kubelet answers")
        except BaseException:
            self.close()
            raise

    def _answers(self) -> bool:
        self.program.check_alive()
        return fetch(f"{self.url}/healthz") == "ok"

    def add_pods(self, *names: str) -> None:
        """Puts manifests of pods of one sleeping container into the kubelet's folder."""
        for name in names:
            # The kubelet watches the folder: a file must appear whole.
            draft = self.manifests / f".{name}.json"
            draft.write_text(json.dumps(_manifest(name)))
            draft.rename(self.manifests / f"{name}.json")

    def remove_pods(self, *names: str) -> None:
        """Takes manifests away; the kubelet then ends the pods."""
        for name in names:
            (self.manifests / f"{name}.json").unlink()

    def pods(self) -> dict[str, Mapping[str, Any]]:
        """What it says of its pods (v1), by the manifest's name."""
        return pods_by_name(self.url)

    def running(self) -> dict[str, Mapping[str, Any]]:
        """The first container's status of each pod that runs."""
        return {
            name: pod["status"]["containerStatuses"][0]
            for name, pod in self.pods().items()
            if pod["status"]["phase"] == "Running" and "running" in pod["status"]["containerStatuses"][0]["state"]
        }

    def metrics(self) -> Metrics:
        """One scrape."""
        return wait_until(lambda: scrape(f"{self.url}/metrics"), "the kubelet's metrics")

    def close(self) -> None:
        """Ends it. Its pods stay in the runtime, as they do on a node."""
        self.program.stop()
        # It mounts its root folder on itself, and does not undo that.
        unmount_below(self.folder)
        # It links its pods' logs here whatever its configuration says, and a later kubelet asks its runtime about each
        # link whose log is gone.
        for link in Path("/var/log/containers").glob(f"*_{NAMESPACE}_*.log"):
            if link.is_symlink() and link.readlink().is_relative_to(self.folder):
                link.unlink()
