"""What `pleg run` does once its command line is understood: a node, its observers, its HTTP endpoints, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio

from cri.clock import MILLISECOND, SECOND, Clock, seconds
from cri.durations import format_duration
from cri.transport import Transport
from pleg.cli.errors import CliError
from pleg.cli.live import Console, LiveView
from pleg.hooks import Hooks
from pleg.kubelet import Kubelet, Settings
from pleg.observe.http import AddressError, HttpServer, application, is_loopback, listen, url
from pleg.observe.in_flight import InFlight
from pleg.observe.klog import Klog
from pleg.observe.metrics import Metrics
from pleg.observe.recorder import EventFeed
from pleg.observe.views import Views
from pleg.observe.writer import LineWriter
from pleg.runtime.read_only import ReadOnlyTransport

_STATUS_PERIOD: Final = SECOND // 2
#: How long (ns) to wait for the event stream to close before this process lets itself be stopped.
_SUSPEND_LIMIT: Final = SECOND
#: What gRPC's own threads get to send the end of the stream to the runtime.
_SUSPEND_GRACE: Final = 50 * MILLISECOND
_CLOSE_LIMIT: Final = SECOND // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What `pleg run` was asked for."""

    transport: Transport
    #: The transport's endpoint, as the user wrote it.
    endpoint: str
    settings: Settings
    seed: int
    verbosity: int
    #: Nanoseconds after which to stop; None for never.
    duration: int | None
    #: Where to serve HTTP.
    address: tuple[str, int] | None
    #: Where events go as JSON lines: a path, "-" for standard output, "" for nowhere.
    events: str


@dataclass(slots=True)
class _Run:
    """One run, from its first line on stderr to its last."""

    job: Watch
    console: Console
    clock: Clock = field(default_factory=Clock.real)
    feed: EventFeed | None = None
    writer: LineWriter | None = None

    def say(self, text: str) -> None:
        self.console.line(f"{text}\n")


def watch(job: Watch) -> None:
    """Run until stopped, or for the job's duration. Raises CliError."""
    listening = _listen(job.address)
    with _events_fd(job.events) as fd:
        run = _Run(job, Console(_stderr()))
        began = run.clock.monotonic()
        try:
            # A second Ctrl-C, while everything closes, only closes it faster.
            with contextlib.suppress(KeyboardInterrupt):
                anyio.run(partial(_watch, run, listening, fd))
            _conclude(run, run.clock.monotonic() - began)
        finally:
            run.console.close()


def _conclude(run: _Run, duration: int) -> None:
    """Write what is left, and say what became of the events. Raises CliError if some were lost."""
    count = run.feed.count if run.feed is not None else 0
    after = f"stopped after {format_duration(duration // MILLISECOND * MILLISECOND)}"
    writer, target = run.writer, _name(run.job.events)
    if writer is None:
        run.say(f"{after}; {count} events read")
        return
    if not writer.close(seconds(_CLOSE_LIMIT)):
        error = writer.error or f"its reader took nothing for {format_duration(_CLOSE_LIMIT)}"
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CliError(f"cannot write events to {target}: {why}; {writer.written} of {count} were saved")
    run.say(f"{after}; {writer.written} events saved to {target}")


def _name(events: str) -> str:
    return "standard output" if events == "-" else events


@contextlib.contextmanager
def _events_fd(events: str) -> Iterator[int | None]:
    if not events:
        yield None
        return
    if events == "-":
        if sys.stdout is None:
            raise CliError("cannot write events to standard output: it is closed")
        yield sys.stdout.fileno()
        return
    try:
        fd = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise CliError(f"cannot write events to {events}: {error.strerror}") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _stderr() -> int:
    # Where it was closed from the start, number 2 may by now be any other file.
    return os.open(os.devnull, os.O_WRONLY) if sys.stderr is None else sys.stderr.fileno()


def _listen(address: tuple[str, int] | None) -> socket.socket | None:
    if address is None:
        return None
    try:
        return listen(*address)
    except AddressError as error:
        raise CliError(str(error)) from None


async def _watch(run: _Run, listening: socket.socket | None, fd: int | None) -> None:
    job, clock = run.job, run.clock
    stop = anyio.Event()
    if fd is not None:
        run.writer = LineWriter(fd, on_error=partial(_from_any_thread, asyncio.get_running_loop(), stop))
    run.feed = feed = EventFeed(clock, run.writer.write if run.writer is not None else None)
    metrics, in_flight, live = Metrics(job.settings.node_name), InFlight(), LiveView()
    klog = Klog(run.console.line, clock, verbosity=job.verbosity)
    observers: list[Hooks] = [metrics, in_flight, feed, klog, live]
    transport = ReadOnlyTransport(job.transport)
    kubelet = Kubelet(transport, clock, settings=job.settings, seed=job.seed, hooks=observers)
    server: HttpServer | None = None
    if listening is not None:
        views = Views(
            metrics=metrics.render,
            sync_loop_error=kubelet.sync_loop_error,
            conditions=kubelet.conditions,
            blocking=lambda: in_flight.blocking(clock.now()),
            cache=kubelet.cache.entries,
            cache_time=lambda: kubelet.cache.time,
            events=feed.last,
            node_name=job.settings.node_name,
            runtime_name=lambda: kubelet.runtime_state.runtime_name,
        )
        server = HttpServer(application(views), listening, say=run.say)
        server.start()
        _announce(run, listening)
    run.say(f"watching {job.endpoint} with --pleg {job.settings.pleg}; stop with Ctrl-C")
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_obey_signals, run, kubelet, stop)
            tasks.start_soon(_show_status, run, kubelet, live, in_flight)
            tasks.start_soon(kubelet.run)
            with anyio.move_on_after(seconds(job.duration) if job.duration is not None else None):
                await stop.wait()
            tasks.cancel_scope.cancel()
    finally:
        with anyio.move_on_after(seconds(_CLOSE_LIMIT), shield=True):
            await transport.aclose()
        if server is not None:
            server.stop()


def _from_any_thread(loop: asyncio.AbstractEventLoop, stop: anyio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended already
        loop.call_soon_threadsafe(stop.set)


def _announce(run: _Run, listening: socket.socket) -> None:
    if not is_loopback(listening):
        run.say("warning: everybody who reaches this address can read the pods' names, states and images")
    run.say(f"serving {url(listening)}")


async def _show_status(run: _Run, kubelet: Kubelet, live: LiveView, in_flight: InFlight) -> None:
    while run.console.live:
        now, waiting = run.clock.now(), ""
        if blocking := in_flight.blocking(now):
            waiting = f"waiting {(now - blocking[0].since) // SECOND}s for {blocking[0].rpc}"
        text = live.text(design=run.job.settings.pleg, cached=len(kubelet.cache), waiting=waiting)
        run.console.status(text, alarming=live.ready is False)
        await anyio.sleep(seconds(_STATUS_PERIOD))


async def _obey_signals(run: _Run, kubelet: Kubelet, stop: anyio.Event) -> None:
    watched = [signal.SIGINT, signal.SIGTERM]
    # Whoever had these ignored (nohup) wants it to stay so.
    watched += [s for s in (signal.SIGHUP, signal.SIGTSTP) if signal.getsignal(s) is not signal.SIG_IGN]
    with anyio.open_signal_receiver(*watched) as received:
        async for number in received:
            if number != signal.SIGTSTP:
                stop.set()
                return
            await _pause(run, kubelet)


async def _pause(run: _Run, kubelet: Kubelet) -> None:
    """Stop this process as Ctrl-Z does, but with its event stream closed: some runtimes wait for a silent reader."""
    with anyio.move_on_after(seconds(_SUSPEND_LIMIT)):
        await kubelet.suspend()
        await anyio.sleep(seconds(_SUSPEND_GRACE))
    run.console.status("")
    await anyio.sleep(seconds(_SUSPEND_GRACE))
    os.kill(os.getpid(), signal.SIGSTOP)
    kubelet.resume()  # SIGCONT was sent
