"""The event feed, and the writer of lines: nothing lost in silence, nothing ever waited for."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cri.clock import VIRTUAL_EPOCH, Clock
from pleg.observe.recorder import EventFeed
from pleg.observe.writer import LineWriter, Overrun
from pleg.pods import EventType, PodLifecycleEvent

DIED = PodLifecycleEvent("uid-1", EventType.CONTAINER_DIED, "c0ffee")
SYNC = PodLifecycleEvent("uid-1", EventType.POD_SYNC)


def fixed_clock() -> Clock:
    return Clock(lambda: 0, wall_base=VIRTUAL_EPOCH + 1)


def test_an_event_is_one_json_line_of_fixed_order() -> None:
    lines: list[str] = []
    feed = EventFeed(fixed_clock(), lines.append)
    feed.event_read(DIED, "default", "web-ü")
    assert lines == [
        '{"time": "2026-01-01T00:00:00.000000001Z", "uid": "uid-1", "namespace": "default", "name": "web-ü", '
        '"type": "ContainerDied", "id": "c0ffee"}\n'
    ]
    feed.event_read(SYNC, "", "")
    assert json.loads(lines[1])["id"] is None
    assert feed.count == 2


def test_the_last_thousand_are_kept() -> None:
    feed = EventFeed(fixed_clock())
    for number in range(1003):
        feed.event_read(DIED, "default", str(number))
    names = [json.loads(line)["name"] for line in feed.last()]
    assert names == [str(number) for number in range(3, 1003)]
    assert feed.count == 1003


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):  # a test may have closed it
            os.close(end)


def test_lines_are_written_at_once_and_in_order(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = LineWriter(fd)
    writer.write("first\n")
    assert os.read(reader, 100) == b"first\n"  # without any flush
    for number in range(5):
        writer.write(f"{number}\n")
    assert writer.close(5)
    assert os.read(reader, 100) == b"0\n1\n2\n3\n4\n"
    assert (writer.written, writer.dropped, writer.error) == (6, 0, None)


def test_a_full_disk_is_an_error_once_and_all_is_counted() -> None:
    failed = threading.Event()
    fd = os.open("/dev/full", os.O_WRONLY)
    writer = LineWriter(fd, on_error=failed.set)
    writer.write("lost\n")
    assert failed.wait(5)
    writer.write("lost too\n")
    assert not writer.close(5)
    os.close(fd)
    assert isinstance(writer.error, OSError)
    assert (writer.written, writer.dropped) == (0, 2)


def test_a_closed_pipe_is_an_error(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    os.close(reader)
    writer = LineWriter(fd)
    writer.write("lost\n")
    assert not writer.close(5)
    assert isinstance(writer.error, BrokenPipeError)


def stuffed(fd: int) -> None:
    """Fill a pipe to its brim."""
    os.set_blocking(fd, False)
    try:
        while True:
            os.write(fd, bytes(4096))
    except BlockingIOError:
        os.set_blocking(fd, True)


def test_a_reader_that_stands_still_holds_nobody_up(pipe: tuple[int, int]) -> None:
    _, fd = pipe
    stuffed(fd)
    writer = LineWriter(fd, capacity=10)
    for _ in range(50):
        writer.write("line\n")
    assert isinstance(writer.error, Overrun)
    assert not writer.close(0.01)
    assert writer.dropped == 50


def test_log_lines_may_be_dropped_and_are_counted(pipe: tuple[int, int]) -> None:
    _, fd = pipe
    stuffed(fd)
    writer = LineWriter(fd, capacity=10, drop_when_full=True)
    for _ in range(50):
        writer.write("line\n")
    assert writer.error is None
    assert 30 <= writer.dropped <= 40  # but for those in the thread's hands and those that wait
    assert not writer.close(0.01)


def test_a_file_that_somebody_made_non_blocking_is_waited_for(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    stuffed(fd)
    os.set_blocking(fd, False)
    writer = LineWriter(fd)
    writer.write("patient\n")
    read = b""
    while not read.endswith(b"patient\n"):
        read += os.read(reader, 65536)
    assert writer.close(5)


def test_text_that_is_no_utf8_is_written_all_the_same(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    writer = LineWriter(fd)
    writer.write("\ud800\n")
    assert writer.close(5)
    os.close(fd)
    assert (tmp_path / "out").read_bytes() == b"\\ud800\n"
