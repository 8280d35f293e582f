"""What `pleg run` says on stderr: lines anywhere, and on a terminal one line below them that changes."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Iterator

import pytest

from cri.clock import MICROSECOND, MILLISECOND, SECOND
from pleg.cli.live import Console, LiveView
from pleg.pods import ContainerState, EventType, PodLifecycleEvent

TERMINAL = {"TERM": "xterm"}


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ends = pty.openpty()
    fcntl.ioctl(ends[1], termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    yield ends
    for end in ends:
        os.close(end)


def said(terminal: tuple[int, int], console: Console) -> str:
    console.close()
    return os.read(terminal[0], 65536).decode().replace("\r\n", "\n")


def test_lines_go_above_the_line_that_changes(terminal: tuple[int, int]) -> None:
    console = Console(terminal[1], TERMINAL)
    console.line("one\n")
    console.status("3 pods")
    console.line("two\n")
    assert said(terminal, console) == "one\n\r\x1b[K3 pods\r\x1b[Ktwo\n3 pods\r\x1b[K"


def test_it_fits_the_width_and_carries_no_control_characters(terminal: tuple[int, int]) -> None:
    console = Console(terminal[1], TERMINAL)
    console.status("\x1b[31mred\n" + "x" * 100)
    assert said(terminal, console) == "\r\x1b[K" + " [31mred " + "x" * 30 + "\r\x1b[K"


@pytest.mark.parametrize(("environment", "red"), [(TERMINAL, True), (TERMINAL | {"NO_COLOR": "1"}, False)])
def test_what_alarms_is_red_unless_colours_are_unwanted(
    terminal: tuple[int, int], environment: dict[str, str], red: bool
) -> None:
    console = Console(terminal[1], environment)
    console.status("NotReady", alarming=True)
    assert ("\x1b[31mNotReady\x1b[0m" in said(terminal, console)) == red


@pytest.mark.parametrize("environment", [TERMINAL, {"TERM": "dumb"}])
def test_where_there_is_no_terminal_there_are_only_lines(environment: dict[str, str]) -> None:
    reader, writer = os.pipe()
    console = Console(writer, environment)
    console.status("3 pods")
    console.line("one\n")
    console.close()
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)
    os.close(writer)


def test_the_numbers_of_the_status_line() -> None:
    live = LiveView()
    assert live.text(design="polling", cached=2) == "polling  2 pods  0 containers  0 events"
    live.running_pods(110)
    live.running_containers(ContainerState.RUNNING, 219)
    live.running_containers(ContainerState.RUNNING, 1, relative=True)
    live.running_containers(ContainerState.EXITED, 5)
    live.relist_ended(35_123 * MICROSECOND, None)
    live.relist_ended(3_149 * MICROSECOND, None)
    live.event_read(PodLifecycleEvent("u", EventType.CONTAINER_DIED, "c"), "default", "web")
    live.node_condition("Ready", "True", "KubeletReady", "kubelet is posting ready status", True)
    numbers = "110 pods  220 containers  relist 3.1ms (max 35ms)  1 events"
    assert live.text(design="generic", cached=110) == f"generic  Ready  {numbers}"


def test_what_is_wrong_and_what_is_waited_for() -> None:
    live = LiveView()
    live.relist_ended(2 * SECOND + 130 * MILLISECOND, None)
    live.node_condition("Ready", "False", "KubeletNotReady", "PLEG is not healthy: ...", True)
    assert live.text(design="hinted", cached=0, waiting="waiting 7s for ListContainers") == (
        "hinted  NotReady  0 pods  0 containers  relist 2.13s (max 2.13s)  0 events  "
        "waiting 7s for ListContainers  PLEG is not healthy: ..."
    )
