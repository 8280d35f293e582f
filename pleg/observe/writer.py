"""Writing lines to a file, pipe or terminal without ever holding up the event loop that says them.

A pager that is not read, or a full disk, must not stop a PLEG: while its loop hangs in a write it does not read its
event stream, and some runtimes then block container creation (containerd 2.x).
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

#: Lines that may wait for a reader, about 20 MB of events.
CAPACITY: Final = 100_000
_BATCH: Final = 1000


class Overrun(Exception):
    """The reader of the lines does not keep up."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"its reader does not keep up: {waiting} lines are waiting")


class LineWriter:
    """Hands lines to a thread of its own, which writes them at once, in their order."""

    def __init__(
        self,
        fd: int,
        *,
        capacity: int = CAPACITY,
        drop_when_full: bool = False,
        on_error: Callable[[], object] | None = None,
    ) -> None:
        """`fd` stays the caller's to close.

        Too many waiting lines are an error, or, with `drop_when_full`, are dropped and counted. After an error (see
        `error`) every line is dropped and counted; `on_error` is called once, in whatever thread it came up.
        """
        self._fd = fd
        self._capacity = capacity
        self._drop_when_full = drop_when_full
        self._on_error = on_error
        self._lines: deque[str] = deque()
        self._batch: list[str] = []
        self._said = threading.Event()
        self._closing = False
        #: Why nothing is written any more.
        self.error: Exception | None = None
        #: Lines that are written in full, and lines that were lost.
        self.written = 0
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"writer of fd {fd}", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Say a line that ends with a newline. Returns at once, never raises."""
        if self.error is not None or self._closing:
            self.dropped += 1
        elif len(self._lines) < self._capacity:
            self._lines.append(line)
            self._said.set()
        else:
            self.dropped += 1
            if not self._drop_when_full:
                self._fail(Overrun(len(self._lines)))

    def close(self, timeout: float) -> bool:
        """Write what is left, for `timeout` seconds at most. False if lines were lost."""
        self._closing = True
        self._said.set()
        self._thread.join(timeout)
        self.dropped += len(self._lines) + len(self._batch)
        return not self.dropped and self.error is None

    def _run(self) -> None:
        while True:
            self._said.wait()
            self._said.clear()
            closing = self._closing  # read before the last look for lines, or one said in between would be lost
            while self._lines and self.error is None:
                self._batch = [self._lines.popleft() for _ in range(min(_BATCH, len(self._lines)))]
                self._write_out(self._batch)
                self._batch = []
            if closing or self.error is not None:
                return

    def _write_out(self, lines: list[str]) -> None:
        data = "".join(lines).encode(errors="backslashreplace")
        done = 0
        try:
            while done < len(data):
                try:
                    done += os.write(self._fd, data[done:])
                except BlockingIOError:  # somebody else set the file to non-blocking
                    select.select([], [self._fd], [])
        except OSError as error:
            complete = data.count(b"\n", 0, done)
            self.dropped += len(lines) - complete
            self.written += complete
            self._fail(error)
        else:
            self.written += len(lines)

    def _fail(self, error: Exception) -> None:
        if self.error is None:
            self.error = error
            if self._on_error is not None:
                self._on_error()
