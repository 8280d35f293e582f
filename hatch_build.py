"""Build hook: generates cri/v1/*_pb2.py and their stubs from proto/ whenever the project is built or installed."""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GenerateCri(BuildHookInterface[Any]):
    """Runs protoc from grpcio-tools; nothing it writes is kept in git."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "sdist":
            return
        generate(Path(self.root))


def generate(root: Path) -> None:
    """Write the modules of every file below proto/ beside it in the package tree of the same name."""
    import grpc_tools
    from grpc_tools import protoc

    proto = root / "proto"
    # protoc looks for its plug-ins on PATH, where an isolated build's scripts are not: name it by its path.
    scripts = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    scripts += [Path(entry).parent / "bin" for entry in sys.path]
    scripts += [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep)]
    plugin = next((s / "protoc-gen-mypy" for s in scripts if (s / "protoc-gen-mypy").is_file()), None)
    if plugin is None:
        raise SystemExit("protoc-gen-mypy is missing: install mypy-protobuf into the environment that builds")
    files = sorted(str(path.relative_to(proto)) for path in proto.rglob("*.proto"))
    include = Path(grpc_tools.__file__).parent / "_proto"
    # Written elsewhere and moved at last: nobody, not even after a broken-off run, meets half a module.
    with tempfile.TemporaryDirectory(prefix=".generated-", dir=root) as fresh:
        status = protoc.main(
            [
                "protoc",
                f"--proto_path={proto}",
                f"--proto_path={include}",
                f"--plugin=protoc-gen-mypy={plugin}",
                f"--python_out={fresh}",
                f"--mypy_out=quiet:{fresh}",
                *files,
            ]
        )
        if status != 0:
            raise SystemExit(f"protoc failed with status {status}")
        for path in Path(fresh).rglob("*_pb2.py*"):
            path.replace(root / path.relative_to(fresh))


if __name__ == "__main__":
    generate(Path(__file__).parent)
