"""Container images without a registry: an OCI archive written from Debian's static busybox."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

BUSYBOX = Path("/bin/busybox")
PAUSE = "localhost/pause:1"
IMAGE = "localhost/busybox:1"
#: busybox's sleep knows no "infinity" in every build; 68 years are enough.
FOREVER = "2147483647"


def _layer(applets: Iterable[str]) -> bytes:
    """A root file system with busybox, links to it, and a /tmp."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        content = BUSYBOX.read_bytes()
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
        for applet in applets:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return out.getvalue()


class _Layout:
    """The blobs of an OCI image layout, and its index."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: list[dict[str, Any]] = []

    def add(self, media_type: str, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def add_json(self, media_type: str, content: Mapping[str, Any]) -> dict[str, Any]:
        return self.add(media_type, json.dumps(content).encode())

    def write(self, path: Path) -> None:
        files = {
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
            "index.json": json.dumps({"schemaVersion": 2, "manifests": self.manifests}).encode(),
            **{f"blobs/sha256/{digest}": content for digest, content in self.blobs.items()},
        }
        with tarfile.open(path, "w") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def write_images(path: Path) -> None:
    """The sandbox image and a busybox image, in one archive; `ctr images import` reads both names from it."""
    layer = _layer(("sh", "sleep", "true"))
    commands: dict[str, Sequence[str]] = {PAUSE: ("/bin/sleep", FOREVER), IMAGE: ("/bin/sh",)}
    layout = _Layout()
    blob = layout.add("application/vnd.oci.image.layer.v1.tar", layer)
    for name, command in commands.items():
        config = layout.add_json(
            "application/vnd.oci.image.config.v1+json",
            {
                "architecture": _architecture(),
                "os": "linux",
                "config": {"Entrypoint" if name == PAUSE else "Cmd": list(command), "Env": ["PATH=/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [blob["digest"]]},
            },
        )
        manifest = layout.add_json(
            "application/vnd.oci.image.manifest.v1+json",
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config,
                "layers": [blob],
            },
        )
        layout.manifests.append({**manifest, "annotations": {"io.containerd.image.name": name}})
    layout.write(path)


def _architecture() -> str:
    """Go's name for this machine."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
