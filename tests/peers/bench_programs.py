"""This project's own two programs, as a user starts them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from .exposition import Metrics, scrape
from .processes import SCRIPTS, Program, wait_until

_TIME = re.compile(r"(.*?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


class FakeCri:
    """A listening `fake-cri serve`."""

    def __init__(self, socket: Path, *flags: str) -> None:
        self.endpoint = f"unix://{socket}"
        self.program = Program(
            [SCRIPTS / "fake-cri", "serve", "--listen", self.endpoint, *flags], socket.with_suffix(".log")
        )
        try:
            self.program.wait_for(rf"listening on unix://{socket}")
        except BaseException:
            self.program.stop()
            raise


@dataclass(frozen=True)
class Event:
    """One line of `pleg run --events`."""

    time_ns: int
    pod: str
    type: str
    id: str

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Reads time (RFC 3339, ns), name, type and id."""
        fields = json.loads(line)
        # datetime ends at microseconds, and before Python 3.12 reads no more digits than six.
        parts = _TIME.fullmatch(fields["time"])
        assert parts is not None, fields["time"]
        seconds, nanoseconds, zone = parts.groups()
        moment = datetime.fromisoformat(seconds + zone.replace("Z", "+00:00"))
        time_ns = int(moment.timestamp()) * 10**9 + int((nanoseconds or "0").ljust(9, "0"))
        return cls(time_ns, fields["name"], fields["type"], fields["id"])


class PlegRun:
    """A `pleg run` that answers over HTTP, and its events in a file."""

    def __init__(self, folder: Path, endpoint: str, *flags: str) -> None:
        folder.mkdir()
        self._events = folder / "events.jsonl"
        self.program = Program(
            [
                SCRIPTS / "pleg", "run", "--runtime-endpoint", endpoint, "--http", "127.0.0.1:0",
                "--events", self._events, *flags,
            ],
            folder / "pleg.log",
        )  # fmt: skip
        try:
            self.url = self.program.wait_for(r"^serving (http://127\.0\.0\.1:\d+)$")[1]
        except BaseException:
            self.program.stop()
            raise

    def events(self) -> list[Event]:
        """What it reported so far; a line that is still being written does not count."""
        if not self._events.exists():
            return []
        lines = self._events.read_text().split("\n")[:-1]
        return [Event.from_json(line) for line in lines]

    def wait_for_event(self, kind: str, container: str, timeout: float = 20.0) -> None:
        """Waits until an event of this type for this container or sandbox was reported."""

        def seen() -> bool:
            self.program.check_alive()
            return any(event.type == kind and event.id == container for event in self.events())

        try:
            wait_until(seen, f"{kind} of {container}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\nreported: {self.events()}") from None

    def metrics(self) -> Metrics:
        """One scrape."""
        return wait_until(lambda: scrape(f"{self.url}/metrics"), "pleg's metrics")
