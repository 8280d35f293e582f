"""Programs as subprocesses: started, awaited by what they say, and ended whatever happens."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import httpx

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
#: What `.ci/peers` builds.
PEERS = ROOT / ".peers" / "bin"
#: Where this project's own programs are: beside the interpreter that runs the tests.
SCRIPTS = Path(sys.executable).parent


def wait_until(condition: Callable[[], T | None], what: str, timeout: float = 30.0, interval: float = 0.05) -> T:
    """The condition's first true value; at the deadline, a failure that shows its last one."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout:g} s, last seen: {value!r}")
        time.sleep(interval)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def fetch(url: str, timeout: float = 5.0) -> str | None:
    """The body of a 200 answer, None for any other and for no answer."""
    try:
        # Proxies of the environment are for the outside world, never for 127.0.0.1.
        answer = httpx.get(url, timeout=timeout, trust_env=False)
    except httpx.HTTPError:
        return None
    return answer.text if answer.status_code == 200 else None


def unmount_below(folder: Path) -> None:
    """Unmounts what was mounted in a folder, innermost first."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    for point in sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", point], timeout=30, check=False)


class Program:
    """One subprocess, whose standard output and error go to one file."""

    def __init__(self, args: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = Path(args[0]).name
        self.log = log
        with log.open("wb") as out:
            # A session of its own: Ctrl-C reaches the tests alone, and they end what they started in order.
            self.process = subprocess.Popen(
                [str(arg) for arg in args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """All that it said so far."""
        return self.log.read_text(errors="replace")

    @property
    def tail(self) -> str:
        """The end of what it said: what a failing test shows."""
        return "\n".join(self.output.splitlines()[-40:])

    def said(self, pattern: str) -> re.Match[str] | None:
        """Where its output matches the pattern first."""
        return re.search(pattern, self.output, re.MULTILINE)

    def wait_for(self, pattern: str, timeout: float = 30.0) -> re.Match[str]:
        """Waits until its output matches the pattern; fails at once if it ends before."""

        def found() -> re.Match[str] | None:
            ended = self.process.poll() is not None
            match = self.said(pattern)
            if match is None and ended:
                raise AssertionError(f"{self.name} ended ({self.process.returncode}) without {pattern!r}:\n{self.tail}")
            return match

        return wait_until(found, f"{self.name} says {pattern!r}", timeout)

    def check_alive(self) -> None:
        """Fails if it ended."""
        code = self.process.poll()
        assert code is None, f"{self.name} ended ({code}):\n{self.tail}"

    def stop(self, timeout: float = 15.0) -> int:
        """Ends it as a service manager would, then by force; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            return self.process.wait(timeout)
