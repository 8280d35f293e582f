"""The commands of fake-cri. What one needs for its work is imported when it begins, so that help comes at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import cri
from cri._entry import quiet_interrupt

#: The built-in profiles; a test holds this to their files, which take too long to look at for help.
RUNTIMES = ("containerd-2.4", "containerd-1.7", "containerd-1.6", "cri-o", "cri-o-noevents")

app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    name="fake-cri",
    help="A Kubernetes container runtime without containers: CRI v1 over real state machines, with faults on demand.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_EXAMPLES = """Serve CRI v1 on a socket until Ctrl-C.

Any CRI client may use it: crictl, a kubelet, pleg. Its pods have states, ids, times and events, but no processes.

\b
Examples:
  # An empty runtime for a client to fill:
  fake-cri serve --listen unix:///tmp/fake.sock
\b
  # A node of 110 pods with 5 changes a second, and the ground truth beside it:
  fake-cri serve --listen unix:///tmp/fake.sock --pods 110 --churn 5/s --journal truth.jsonl
\b
  # The 21st ListContainers hangs for 30 s, and with it all others in that time:
  fake-cri serve --listen unix:///tmp/fake.sock --pods 10 \\
      --fault 'ListContainers: 20*off->hang(30s)->off'
\b
  # A runtime of your own, from one of ours:
  fake-cri profile cri-o > mine.yaml
  fake-cri serve --listen unix:///tmp/fake.sock --runtime ./mine.yaml
\b
  # A client of it:
  crictl --runtime-endpoint unix:///tmp/fake.sock pods
\b
Faults read RPC [SELECTOR] [@FROM..UNTIL] [after N calls]: TERM->TERM->...
  TERM      [N*]ACTION [p=P]: N* covers N calls, p=P strikes each of them with that probability
  SELECTOR  [pod=NAMESPACE/NAME,container=NAME,uid=UID,id=PREFIX], any of them: calls about these alone
  @10s..40s is a span of time since the fault was put into effect; @10s and @..40s are open at one end
\b
ACTION is one of
  off                  the call passes
  error(CODE,"TEXT")   ends with a gRPC code; the text may be left out
  hang(D), hang        held to the end of a window of D that the first call opens; until the fault is removed
  latency(D)           delayed by D, or uniform(A,B), normal(MEAN,SD), exponential(MEAN), growing(START,STEP)
  not_found            the container or sandbox is gone
  unset, garbage       served with its status unset; with bytes that do not parse
  truncated, cut(N)    its answer broken off; a list of N entries
  oversized            an answer of 17 MiB
  hold(NAME,D)         a hang that holds the lock NAME meanwhile; without D until the fault is removed
  lock(NAME)           waits while NAME is held
  not_ready(runtime)   Status says that RuntimeReady is false; not_ready(network)
\b
Streams, such as GetContainerEvents, also know
  end(D), reset(D)     the stream ends with OK, or breaks, D after it was opened; end, reset at once
Event in the place of RPC strikes single events, and counts them, as in 'Event[pod=default/web-0]: 3*drop->off':
  drop, duplicate(N)   lost; arriving N times, twice without N
  delay(D), reorder(D) arriving D late: with those behind it, or overtaken by them
  burst(D)             all events of a window that the first one opens arrive at its end
  no_sandbox           without the sandbox's status; no_statuses: without the containers'
  created_at(seconds)  its time in seconds or milliseconds, or off by a duration: created_at(1h)
\b
Runtime in the place of RPC strikes the runtime as a whole, as in 'Runtime @10s: restart(5s)':
  restart(D), restart(D,lost)  down for D; lost: what ended meanwhile reads 255 and Unknown
  crash, socket_gone           down to the end of the span: a dead socket; no socket
  clock_step(D)                its clock jumps by D, and back at the end of the span
\b
An uncounted last term lasts for ever: end with ->off to be well again.
  --fault 'ContainerStatus[pod=default/web-0,container=app] @10s..40s: hang'
  --fault 'StopContainer: hold(dead,3m)->off' --fault 'ListContainers: lock(dead)'
The same as YAML, in a file for --faults:
  faults:
    - {rpc: ContainerStatus, select: {pod: default/web-0}, from: 10s, until: 40s, terms: [{do: hang}]}
\b
Annotations say how the processes that a client's containers do not have behave:
  fake-cri/exit-after: 2s     ends by itself after 2 s, with fake-cri/exit-code ("0")
  fake-cri/stop-after: 5s     goes on for 5 s after its stop signal; fake-cri/stop-exit-code ("143")
  fake-cri/start-error: TEXT  cannot be started; or fake-cri/missing-command: CMD
A pod's are for all of its containers, with .NAME at the end for one: fake-cri/exit-after.NAME
\b
Exit codes: 0 stopped, 1 failed (socket taken, journal unwritable), 2 wrong usage.
"""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fake-cri {cri.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A Kubernetes container runtime without containers: CRI v1 over real state machines, with faults on demand."""


@app.command(help=_EXAMPLES)
def serve(
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS", help="unix:///PATH, or tcp://127.0.0.1:PORT (0: any port).")
    ],
    pods: Annotated[int, typer.Option("--pods", min=0, help="Pods that it has from the start.")] = 0,
    containers: Annotated[int, typer.Option("--containers", min=0, help="Containers in each of them.")] = 2,
    churn: Annotated[
        str,
        typer.Option(
            "--churn",
            metavar="RATE",
            help="Changes of state per second, as 5 or 5/s. Ends strike any container; all else its own pods.",
        ),
    ] = "0",
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same ids, pods and churn.")] = 1,
    runtime: Annotated[
        str,
        typer.Option(
            "--runtime",
            metavar="NAME|FILE",
            help=f"Whose ways it has: {', '.join(RUNTIMES)}, or a YAML file like theirs.",
            autocompletion=lambda: list(RUNTIMES),
        ),
    ] = RUNTIMES[0],
    dead: Annotated[
        int,
        typer.Option("--dead", min=0, help="Dead pods beside them: sandbox NOTREADY, containers EXITED, for ever."),
    ] = 0,
    entry_bytes: Annotated[
        int, typer.Option("--entry-bytes", min=0, max=1 << 20, help="Fill each list entry up to this size.")
    ] = 0,
    clock_offset: Annotated[
        str, typer.Option("--clock-offset", metavar="DURATION", help="Set its clock off, as by 5s or -300ms.")
    ] = "0s",
    journal: Annotated[
        str | None,
        typer.Option(
            "--journal", metavar="FILE|-", help="Write each change as a JSON line, anew; - is standard output."
        ),
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option("--fault", metavar="'RPC: ACTIONS'", help="What goes wrong. May be repeated.")
    ] = None,
    faults_file: Annotated[
        str | None, typer.Option("--faults", metavar="FILE", help="What goes wrong, as YAML.")
    ] = None,
) -> None:
    rate = _rate(churn)
    for flag, value in (("--runtime", runtime), ("--journal", journal), ("--faults", faults_file)):
        if value == "":
            raise typer.BadParameter("the name is empty", param_hint=flag)
    # gRPC would say in its own words, before ours, that an address cannot be had.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with quiet_interrupt():
        from cri.durations import parse_duration
        from fake_cri.faults import DocumentError, parse_fault, read_faults
        from fake_cri.listening import parse_address
        from fake_cri.profiles import ProfileError, load_profile
        from fake_cri.serving import ServeError, Settings
        from fake_cri.serving import serve as run

    try:
        address = parse_address(listen)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--listen") from None
    try:
        offset = parse_duration(clock_offset)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--clock-offset") from None
    try:
        profile = load_profile(runtime)
    except ProfileError as error:
        raise typer.BadParameter(str(error), param_hint="--runtime") from None
    try:
        faults = [parse_fault(text) for text in fault or ()]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--fault") from None
    try:
        faults += read_faults(Path(faults_file)) if faults_file is not None else []
    except DocumentError as error:
        raise typer.BadParameter(str(error), param_hint="--faults") from None

    settings = Settings(
        address, profile, pods, containers, rate, seed, journal, faults, dead, entry_bytes, clock_offset=offset
    )
    try:
        run(settings, lambda line: typer.echo(line, err=True))
    except ServeError as error:
        _fail(str(error))


@app.command()
def profile(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=lambda: list(RUNTIMES))] = RUNTIMES[0],
) -> None:
    """Print a runtime's profile as YAML, to be copied and changed for --runtime FILE.

    \b
    It says in which ways that runtime differs: error codes, events, list order, costs.
      fake-cri profile containerd-2.4 > mine.yaml
    """
    from fake_cri.profiles import ProfileError, profile_text

    try:
        typer.echo(profile_text(name), nl=False)
    except ProfileError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None


def _rate(text: str) -> float:
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 10_000:
        raise typer.BadParameter(f"{text!r} is no rate: write changes per second, as 5 or 0.5/s", param_hint="--churn")
    return rate


def _fail(message: str) -> NoReturn:
    typer.echo(f"fake-cri: {message}", err=True)
    raise typer.Exit(1)
