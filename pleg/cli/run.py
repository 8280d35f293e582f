"""`pleg run`: watch a runtime as a kubelet does, and show what comes of it, until stopped. Changes nothing in it."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cri._entry import quiet_interrupt
from pleg.cli import options
from pleg.cli.errors import UsageError

if TYPE_CHECKING:
    from cri.transport import Transport

#: Where runtimes listen by default.
USUAL_SOCKETS: Final = (
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/cri-dockerd.sock",
)


def run(
    runtime_endpoint: Annotated[
        str,
        typer.Option(
            "--runtime-endpoint",
            envvar="CONTAINER_RUNTIME_ENDPOINT",
            metavar="unix:///PATH",
            help="The runtime's CRI socket.",
        ),
    ] = "",
    pleg: options.PlegOption = options.Design.GENERIC,
    http: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT|off",
            help="Where to serve /metrics, /healthz, /node, /pods, /cache and /events; port 0 takes a free one.",
        ),
    ] = "127.0.0.1:9815",
    events: Annotated[
        str,
        typer.Option(
            metavar="FILE|-",
            help="Write each event that the sync loop reads as a JSON line (time, uid, namespace, name, type, id) to "
            "this file, replacing it, or to standard output.",
        ),
    ] = "",
    duration: Annotated[
        str, typer.Option(metavar="DURATION", help="Stop by itself after this time, as in 30s or 1h.")
    ] = "",
    node_name: Annotated[
        str, typer.Option(metavar="NAME", help="The node's name in metrics and logs.  [default: this host's name]")
    ] = "",
    kubelet_healthz: Annotated[
        str,
        typer.Option(
            metavar="URL|off",
            help="Where a kubelet of this machine would answer: beside one, evented and hinted are refused.",
        ),
    ] = "http://127.0.0.1:10248/healthz",
    share_events: Annotated[
        bool, typer.Option("--share-events", help="Open an event stream even beside a kubelet.")
    ] = False,
    verbosity: Annotated[
        int, typer.Option("--v", "-v", metavar="LEVEL", min=0, max=10, help="How much to log, as the kubelet's -v.")
    ] = 2,
    relist_period: options.RelistPeriod = "1s",
    relist_threshold: options.RelistThreshold = "3m",
    relist_queue: options.RelistQueue = 200,
    evented_relist_period: options.EventedRelistPeriod = "300s",
    evented_relist_threshold: options.EventedRelistThreshold = "10m",
    cache_tick: options.CacheTick = "5s",
    stream_retries: options.StreamRetries = "5",
    stream_backoff: options.StreamBackoff = "0s",
    stream_buffer: options.StreamBuffer = 1000,
    channel_capacity: options.ChannelCapacity = 1000,
    poll_period: options.PollPeriod = "10s",
    runtime_request_timeout: options.RuntimeRequestTimeout = "2m",
    stream_lists: options.StreamListsOption = options.StreamLists.OFF,
    seed: options.Seed = 1,
) -> None:
    """Watch the pods of a container runtime as a kubelet does, until stopped.

    It only looks: no call that changes anything in the runtime is ever sent, so --pleg generic and polling are safe
    beside a production kubelet. A runtime that is not there yet is waited for.

    \b
    Try:
      pleg run --runtime-endpoint unix:///run/containerd/containerd.sock
      pleg run --pleg hinted --events - --duration 1m > events.jsonl
      curl http://127.0.0.1:9815/node

    Durations are Go's: 300ms, 10s, 1m30s. Defaults are the kubelet's.
    """
    settings = options.settings(
        pleg=pleg.value,
        node_name=node_name or socket.gethostname().strip().lower() or "localhost",
        relist_period=relist_period,
        relist_threshold=relist_threshold,
        relist_queue=relist_queue,
        evented_relist_period=evented_relist_period,
        evented_relist_threshold=evented_relist_threshold,
        cache_tick=cache_tick,
        stream_retries=stream_retries,
        stream_backoff=stream_backoff,
        stream_buffer=stream_buffer,
        stream_buffer_drops=True,
        channel_capacity=channel_capacity,
        poll_period=poll_period,
        runtime_request_timeout=runtime_request_timeout,
        stream_lists=stream_lists.value,
    )
    lasting = options.duration("--duration", duration) if duration else None
    # Whenever it comes, before the loop or after it, Ctrl-C is how this ends.
    with contextlib.suppress(KeyboardInterrupt):
        with quiet_interrupt(0):
            from pleg.cli.guard import check_url, refuse_beside_kubelet
            from pleg.cli.watch import Watch, watch

        check_url(kubelet_healthz)
        job = Watch(
            transport=_transport(runtime_endpoint),
            endpoint=runtime_endpoint,
            settings=settings,
            seed=seed,
            verbosity=verbosity,
            duration=lasting,
            address=_address(http),
            events=events,
        )
        if settings.pleg in ("evented", "hinted") and not share_events:
            refuse_beside_kubelet(kubelet_healthz, design=settings.pleg)
        watch(job)


def _transport(endpoint: str) -> Transport:
    from pleg.runtime.grpc_transport import GrpcTransport

    if not endpoint:
        found = [path for path in USUAL_SOCKETS if os.path.exists(path)]
        raise UsageError(
            "which runtime? Give --runtime-endpoint unix:///PATH or set CONTAINER_RUNTIME_ENDPOINT; "
            + (f"here there is {' and '.join(found)}" if found else f"none is at {', '.join(USUAL_SOCKETS)}")
        )
    try:
        return GrpcTransport(endpoint)
    except ValueError as error:
        raise UsageError(f"--runtime-endpoint: {error}") from None


def _address(text: str) -> tuple[str, int] | None:
    from pleg.observe.http import parse_address

    if text == "off":
        return None
    try:
        return parse_address(text)
    except ValueError as error:
        raise UsageError(f"--http: {error}") from None
