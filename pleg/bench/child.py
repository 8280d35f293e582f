"""A measured part in a process of its own, told what to do by JSON lines over its standard input and output.

The child ends when its input does, so that none outlives its parent.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import anyio.to_thread
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

_LONGEST_LINE: Final = 1 << 30

Handler = Callable[..., Awaitable[Any]]


class ChildFailed(Exception):
    """A measured process ended before it was told to."""


class Child:
    """The parent's side."""

    def __init__(self, name: str, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._name = name
        self._process = process
        self._input = process.stdin
        self._output = BufferedByteReceiveStream(process.stdout)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, what: str, **values: Any) -> Any:
        """Have the child do something and return what it answers. Raises ChildFailed when it is gone."""
        try:
            await self._input.send(json.dumps({"do": what, "with": values}).encode() + b"\n")
            return json.loads(await self._output.receive_until(b"\n", _LONGEST_LINE))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.IncompleteRead, anyio.EndOfStream):
            raise ChildFailed(f"the {self._name} process ended unexpectedly, at {what!r}") from None


@asynccontextmanager
async def child(name: str, module: str, **settings: Any) -> AsyncIterator[Child]:
    """Start `python -m module` with its settings; it is told to end when the block is left, and then killed."""
    command = [sys.executable, "-m", module, json.dumps(settings)]
    async with await anyio.open_process(command, stderr=None) as process:
        try:
            yield Child(name, process)
        finally:
            with anyio.CancelScope(shield=True):
                assert process.stdin is not None
                await process.stdin.aclose()
                with anyio.move_on_after(0.5):
                    await process.wait()
                if process.returncode is None:
                    process.kill()


def settings() -> Any:
    """In the child: what the parent set. A Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return json.loads(sys.argv[1])


async def answer(handlers: Mapping[str, Handler]) -> None:
    """In the child: do what it is told until its input ends."""
    while True:
        line = await anyio.to_thread.run_sync(sys.stdin.buffer.readline, abandon_on_cancel=True)
        if not line:
            return
        request = json.loads(line)
        result = await handlers[request["do"]](**request["with"])
        try:
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:  # the parent is gone, and Python's own flush at exit must not complain of it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
