"""A containerd of a test's own: other folders and sockets than the machine's, and nothing of it left afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from .images import PAUSE, write_images
from .processes import PEERS, Program, unmount_below, wait_until
from .runtime_client import RuntimeClient

#: Debian's package: CRI without container events. `native` needs no overlayfs, which a CI machine's /tmp may not carry.
CONFIG_1_6 = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = "{folder}/containerd.sock"
[ttrpc]
  address = "{folder}/containerd.sock.ttrpc"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Lowering oom_score_adj is not permitted everywhere, and then no sandbox starts at all.
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{folder}/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""

CONFIG_2 = """
version = 4
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]

[plugins."io.containerd.server.v1.grpc"]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.server.v1.ttrpc"]
  address = "{folder}/containerd.sock.ttrpc"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{folder}/cni"]
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false

# Two daemons on one machine would meet on NRI's socket.
[plugins."io.containerd.nri.v1.nri"]
  disable = true
"""


@dataclass(frozen=True)
class Version:
    """Which containerd, and how it wants to be configured."""

    name: str
    folder: Path
    config: str
    import_flags: tuple[str, ...] = ()

    @property
    def daemon(self) -> Path:
        return self.folder / "containerd"

    @property
    def ctr(self) -> Path:
        return self.folder / "ctr"

    @property
    def programs(self) -> tuple[Path, ...]:
        return self.daemon, self.ctr, self.folder / "containerd-shim-runc-v2"


CONTAINERD_1_6 = Version("containerd 1.6", Path("/usr/bin"), CONFIG_1_6)
#: The daemon's own import (the transfer service) unpacks for overlayfs alone unless configured for each platform.
CONTAINERD_2 = Version("containerd 2.4.2", PEERS, CONFIG_2, ("--local",))


class Containerd:
    """A daemon with the test images in it."""

    def __init__(self, version: Version, folder: Path) -> None:
        self.version = version
        self.folder = folder
        self.socket = folder / "containerd.sock"
        self.endpoint = f"unix://{self.socket}"
        config = folder / "config.toml"
        config.write_text(version.config.format(folder=folder, pause=PAUSE))
        self._args: list[str | Path] = [version.daemon, "--config", config]
        self._starts = 0
        self.program = self._start()
        try:
            archive = folder / "images.tar"
            write_images(archive)
            self.ctr("images", "import", *version.import_flags, "--snapshotter", "native", str(archive))
        except BaseException:
            self.close()
            raise

    def _start(self) -> Program:
        self._starts += 1
        # The daemon takes its shim from PATH; Debian's and ours have one name.
        path = {"PATH": f"{self.version.folder}:{os.environ['PATH']}"}
        program = Program(self._args, self.folder / f"containerd-{self._starts}.log", path)

        def ready(client: RuntimeClient) -> bool:
            program.check_alive()
            return client.ready()

        try:
            with RuntimeClient(self.endpoint) as client:
                wait_until(lambda: ready(client), f"{self.version.name} is ready")
        except BaseException:
            program.stop()
            raise
        return program

    def ctr(self, *args: str) -> str:
        """Debian's or containerd's own client, in the namespace of Kubernetes."""
        command = [str(self.version.ctr), "--address", str(self.socket), "--namespace", "k8s.io", *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def restart(self) -> None:
        """The daemon goes and comes back; its containers live on."""
        self.program.stop()
        self.program = self._start()

    def close(self) -> None:
        """Removes the pods, ends the daemon and what outlives it."""
        # Each step must be tried, whatever became of the one before.
        with contextlib.suppress(grpc.RpcError), RuntimeClient(self.endpoint) as client:
            if self.program.process.poll() is None:
                client.remove_all_pods()
        self.program.stop()
        for process in _outliving(lambda command: f"-address\0{self.socket}\0" in command):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        unmount_below(self.folder)


def _outliving(ours: Callable[[str], bool]) -> Iterator[int]:
    """Our shims and their children: a container is its shim's child, and goes first."""
    parents: dict[int, list[int]] = {}
    shims = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            command = (entry / "cmdline").read_text(errors="replace")
            # The name in brackets may hold blanks; the parent is the second field after it.
            parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue  # It ended meanwhile.
        parents.setdefault(parent, []).append(int(entry.name))
        if "containerd-shim" in command and ours(command):
            shims.append(int(entry.name))
    for shim in shims:
        yield from parents.get(shim, [])
        yield shim
