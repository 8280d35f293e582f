"""What `fake-cri serve` does: builds a runtime and its workload, listens, and ends at a signal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

import anyio
import anyio.abc

from cri.clock import Clock
from fake_cri.faults import FaultPlan
from fake_cri.journal import JournalFile
from fake_cri.listening import Address, ListenError
from fake_cri.logs import LogFiles
from fake_cri.profiles import Profile
from fake_cri.runtime import FakeRuntime
from fake_cri.server import serving
from fake_cri.workload import Workload


class ServeError(Exception):
    """Serving failed; its text is one sentence fit for a user."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`churn` is changes per second; `journal` a path, `-` for standard output, or None.

    `dead` pods, list entries of at least about `entry_bytes`, and the wall clock's offset in ns.
    """

    address: Address
    profile: Profile
    pods: int
    containers: int
    churn: float
    seed: int
    journal: str | None
    faults: Sequence[FaultPlan]
    dead: int = 0
    entry_bytes: int = 0
    clock_offset: int = 0


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; `say` takes one line for the user at a time. Raises ServeError."""
    with _journal(settings.journal) as file:
        try:
            anyio.run(_serve, settings, file, say)
        except ListenError as error:
            raise ServeError(str(error)) from None


async def _serve(settings: Settings, file: TextIO | None, say: Callable[[str], None]) -> None:
    stop = anyio.Event()
    journal = JournalFile(file, stop.set) if file is not None else None
    runtime = FakeRuntime(
        settings.profile,
        clock=Clock.real(),
        seed=settings.seed,
        journal=journal,
        faults=settings.faults,
        logs=LogFiles(),
        clock_offset=settings.clock_offset,
        entry_bytes=settings.entry_bytes,
    )
    workload = Workload(
        runtime,
        pods=settings.pods,
        containers=settings.containers,
        churn=settings.churn,
        seed=settings.seed,
        dead=settings.dead,
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(_watch_signals, stop)
        workload.populate()
        # Errors of listening leave the group through this list: it would wrap them.
        problems: list[ListenError] = []
        try:
            async with serving(runtime, settings.address) as address:
                say(f"listening on {address} ({_about(settings)})")
                tasks.start_soon(workload.run)
                tasks.start_soon(runtime.run)
                tasks.start_soon(_incidents, runtime, problems, stop)
                await stop.wait()
        except ListenError as error:
            problems.append(error)
        tasks.cancel_scope.cancel()
    if problems:
        raise problems[0]
    if journal is not None and journal.error is not None:
        reason = journal.error.strerror or str(journal.error)
        raise ServeError(
            f"the journal {settings.journal} cannot be written ({reason}): {journal.lines} lines are in it"
        )
    kept = f"; {journal.lines} journal lines are in {_place(settings.journal)}" if journal is not None else ""
    say(f"stopped after {runtime.changes} changes{kept}")


async def _incidents(runtime: FakeRuntime, problems: list[ListenError], stop: anyio.Event) -> None:
    try:
        await runtime.outage.run()
    except* ListenError as group:  # it cannot come back: something else has its address
        problems.extend(error for error in group.exceptions if isinstance(error, ListenError))
        stop.set()


async def _watch_signals(stop: anyio.Event, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    # Whoever had SIGHUP ignored (nohup) wants it to stay so.
    hangup = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, *hangup) as signals:
        task_status.started()
        async for _ in signals:
            stop.set()


def _about(settings: Settings) -> str:
    pods = f"{settings.pods} pods x {settings.containers} containers" if settings.pods else "no pods of its own"
    churn = f"churn {settings.churn:g}/s" if settings.churn else "no churn"
    if settings.dead:
        pods += f", {settings.dead} dead pods"
    return f"{settings.profile.name}, {pods}, {churn}, seed {settings.seed}"


def _place(journal: str | None) -> str:
    return "standard output" if journal == "-" else str(journal)


@contextmanager
def _journal(target: str | None) -> Iterator[TextIO | None]:
    if target is None:
        yield None
    elif target == "-":
        if sys.stdout is None:
            raise ServeError("cannot write the journal to standard output: it is closed")
        yield sys.stdout
        try:
            sys.stdout.flush()
        except OSError:  # the reader is gone, and Python's own flush at exit must not complain of it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        try:
            file = open(target, "w", encoding="utf-8")  # noqa: SIM115 - closed below
        except OSError as error:
            text = f"cannot write the journal {target}: {error.strerror}; name a file in a folder that exists"
            raise ServeError(text) from None
        try:
            yield file
        finally:
            with suppress(OSError):  # every line was flushed, and what could not be has been told
                file.close()
