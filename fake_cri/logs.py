"""Container log files: they exist once a container is started, as clients expect, and stay empty."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from fake_cri import messages
from fake_cri.objects import Container


class Logs(Protocol):
    """What becomes of the log at a container's start and when its file is to be opened anew."""

    def start(self, container: Container) -> None: ...

    def reopen(self, container: Container) -> None: ...


class NoLogs:
    """For runs without I/O."""

    def start(self, container: Container) -> None:
        """Nothing."""

    def reopen(self, container: Container) -> None:
        """Nothing."""


class LogFiles:
    """Makes the file where the client made its folder. What cannot be written is left: no container depends on it."""

    def start(self, container: Container) -> None:
        self._touch(container)

    def reopen(self, container: Container) -> None:
        """A new file at the same path, when the old one was moved away."""
        self._touch(container)

    def _touch(self, container: Container) -> None:
        path = messages.log_path(container)
        if not path:
            return
        try:
            Path(path).touch(mode=0o640)
        except OSError:
            return
