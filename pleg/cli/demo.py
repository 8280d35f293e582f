"""`pleg demo`: the four designs side by side over the fake runtime, then a hung list in virtual time."""

from __future__ import annotations

import math
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pleg.cli.errors import CliError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pleg.bench.side_by_side import Comparison, Row
    from pleg.simulation.hung_list import HungList

_NEXT = """\
What to try next:
  fake-cri serve --listen unix:///tmp/fake.sock --pods 110 --churn 5/s &
  pleg run --runtime-endpoint unix:///tmp/fake.sock --pleg hinted
  curl -s http://127.0.0.1:9815/metrics | grep kubelet_pleg\
"""


def demo(
    pleg: Annotated[
        str, typer.Option(metavar="NAMES", help="Which designs, with commas between.")
    ] = "polling,generic,evented,hinted",
    pods: Annotated[int, typer.Option(min=1, help="Pods of the fake runtime.")] = 110,
    containers: Annotated[int, typer.Option(min=1, help="Containers of each pod.")] = 2,
    churn: Annotated[str, typer.Option(metavar="RATE", help="Changes of state per second, as 20 or 20/s.")] = "20/s",
    window: Annotated[str, typer.Option(metavar="DURATION", help="How long each design is measured.")] = "6s",
    runtime: Annotated[str, typer.Option(metavar="NAME|FILE", help="Which runtime to imitate.")] = "containerd-2.4",
    seed: Annotated[int, typer.Option(help="The same seed gives the same churn.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Figures for machines, on standard output.")] = False,
) -> None:
    """Polling, relisting, events and hints side by side, then a hung list. About 80 s.

    Each design watches a fresh fake runtime, which is a process of its own, through the same seeded churn: how soon
    is a change seen, what is seen late, twice or never by itself and why, and what does it cost. Then ListContainers
    hangs, in virtual time: from the last good relist to "PLEG is not healthy", to NotReady, and back.

    Exit code 1 when a cache does not end as the runtime is, or a change is left unexplained.
    """
    comparison = _comparison(pleg, pods, containers, churn, window, runtime, seed)
    progress = _Progress(len(comparison.plegs))
    rows = _measure(comparison, progress)
    from pleg.simulation.hung_list import hung_list

    hung = hung_list(seed=seed)
    if json:
        _print_json(comparison, rows, hung)
    else:
        _print(comparison, rows, hung)
    failures = [row.pleg for row in rows if not row.ends_right or row.verdict.unexplained]
    if failures:
        raise CliError(f"{', '.join(failures)}: the cache or a change is not as it should be; this is a bug, see above")


def _comparison(pleg: str, pods: int, containers: int, churn: str, window: str, runtime: str, seed: int) -> Comparison:
    from cri.durations import parse_duration
    from fake_cri.profiles import load_profile
    from pleg.bench.side_by_side import Comparison
    from pleg.kubelet import PLEGS

    names = [name.strip() for name in pleg.split(",")]
    for name in names:
        if name not in PLEGS:
            raise UsageError(f"--pleg: {name!r} is none of {', '.join(PLEGS)}")
    try:
        load_profile(runtime)
        length = parse_duration(window)
    except ValueError as error:
        raise UsageError(str(error)) from None
    try:
        rate = float(churn.strip().removesuffix("/s"))
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise UsageError(f"--churn: {churn!r} is no rate of changes per second: write it as 20 or 20/s")
    if length <= 0:
        raise UsageError("--window: must be more than 0s")
    return Comparison(
        plegs=tuple(name for name in PLEGS if name in names),
        runtime=runtime,
        pods=pods,
        containers=containers,
        churn=rate,
        window=length,
        seed=seed,
    )


def _measure(comparison: Comparison, progress: _Progress) -> list[Row]:
    import anyio

    from pleg.bench.child import ChildFailed

    try:
        rows = anyio.run(_compare, comparison, progress)
    except ChildFailed as error:
        raise CliError(f"{error}; try again, and report it if it happens twice") from None
    except KeyboardInterrupt:
        typer.echo("\npleg demo: stopped; nothing was saved", err=True)
        raise
    finally:
        progress.done()
    if rows is None:
        raise CliError("told to end before it was done; nothing was saved")
    return rows


async def _compare(comparison: Comparison, progress: _Progress) -> list[Row] | None:
    """The comparison's rows; None when a signal ended it first. Its processes and files are gone either way."""
    import anyio

    from pleg.bench.child import ChildFailed
    from pleg.bench.side_by_side import compare

    rows: list[Row] | None = None
    problem: ChildFailed | None = None
    # A shell that starts a job in the background has it ignore Ctrl-C, and nohup SIGHUP: the first is still obeyed, as
    # by the other commands, the second is left as it is.
    ends = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ends.append(signal.SIGHUP)
    interrupted = False
    async with anyio.create_task_group() as tasks:

        async def end_at_a_signal() -> None:
            nonlocal interrupted
            with anyio.open_signal_receiver(*ends) as signals:
                async for number in signals:
                    interrupted = number == signal.SIGINT
                    tasks.cancel_scope.cancel()

        tasks.start_soon(end_at_a_signal)
        try:
            rows = await compare(comparison, progress)
        except ChildFailed as error:
            problem = error  # raised again below: the task group would wrap it
        tasks.cancel_scope.cancel()
    if interrupted:
        raise KeyboardInterrupt
    if problem is not None:
        raise problem
    return rows


class _Progress:
    """A line that changes on a terminal; elsewhere one line per design."""

    def __init__(self, designs: int) -> None:
        self._live = sys.stderr.isatty()
        self._designs = designs
        self._last = ""

    def __call__(self, what: str, share: float) -> None:
        if self._live:
            typer.echo(f"\r\x1b[K{100 * share:3.0f} %  {what}", nl=False, err=True)
        elif what.partition(":")[0] != self._last:
            self._last = what.partition(":")[0]
            typer.echo(f"{100 * share:3.0f} %  {self._last}", err=True)

    def done(self) -> None:
        if self._live:
            typer.echo("\r\x1b[K", nl=False, err=True)


def _print(comparison: Comparison, rows: Sequence[Row], hung: HungList) -> None:
    from cri.clock import SECOND
    from cri.durations import format_duration
    from pleg.bench.report import causes, closing_relist, table

    typer.echo(
        f"{comparison.pods} pods x {comparison.containers} containers on {comparison.runtime}, "
        f"{comparison.churn:g} changes/s for {format_duration(comparison.window)} under each design\n"
    )
    lines = table(rows)
    first = max(len(line[0]) for line in lines)
    width = max(len(cell) for line in lines for cell in line[1:])
    for line in lines:
        typer.echo(f"{line[0]:<{first}}" + "".join(f"  {cell:>{width}}" for cell in line[1:]))
    typer.echo("\nWhy:")
    for sentence in causes(rows):
        typer.echo(f"  {sentence}")
    for sentence in closing_relist(rows):
        typer.echo(f"  {sentence}")
    if any(row.pleg == "evented" for row in rows):
        typer.echo("  evented relists every 300 s: no such relist lies within this window, nor does its cost.")
    typer.echo(
        f"\nListContainers hangs while all else answers (generic, {format_duration(hung.virtual_duration)} of virtual "
        "time).\nSeconds since the last good relist began:"
    )
    for entry in hung.entries:
        typer.echo(f"  {entry.at / SECOND:6.1f}  {entry.part:<9}  {entry.text}")
    typer.echo(f"\n{_NEXT}")


def _print_json(comparison: Comparison, rows: Sequence[Row], hung: HungList) -> None:
    import json

    from pleg.bench.report import data

    result: dict[str, Any] = data(comparison, rows)
    result["hung_list"] = [{"since_ns": entry.at, "part": entry.part, "text": entry.text} for entry in hung.entries]
    typer.echo(json.dumps(result, indent=2))
