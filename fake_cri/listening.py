"""Where the server listens: addresses, and Unix sockets that take nothing from anybody.

gRPC itself would take over a live socket without a word and create a new one that all may open. So the path is probed
first, only a stale socket is replaced, and the new one is bound under a umask that leaves it to its owner.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LONGEST_PATH: Final = 107  # sockaddr_un holds 108 bytes with the closing zero
_PROBE_SECONDS: Final = 1.0


class ListenError(Exception):
    """The address cannot be had; its text is one sentence fit for a user."""


@dataclass(frozen=True, slots=True)
class Address:
    """Either a Unix socket's path, or a loopback host and port (0: any free one)."""

    path: Path | None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{self.path}"
        return f"tcp://{self._host()}:{self.port}"

    @property
    def target(self) -> str:
        """As gRPC writes it."""
        return f"unix:{self.path}" if self.path is not None else f"{self._host()}:{self.port}"

    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def parse_address(text: str) -> Address:
    """`unix:///PATH`, or `tcp://127.0.0.1:PORT` on loopback. Raises ValueError with a sentence fit for a user."""
    scheme, found, rest = text.partition("://")
    if found and scheme == "unix" and rest.startswith("/") and not rest.endswith("/"):
        return Address(Path(rest))
    if found and scheme == "tcp":
        host, colon, port = rest.rpartition(":")
        host = "127.0.0.1" if host == "localhost" else host.strip("[]")
        if colon and port.isdecimal() and int(port) <= 0xFFFF:
            try:
                loopback = ipaddress.ip_address(host).is_loopback
            except ValueError:
                loopback = False
            if not loopback:
                raise ValueError(f"{text!r} is not loopback: without TLS only 127.0.0.1 and ::1 are served")
            return Address(None, host, int(port))
    raise ValueError(f"{text!r} is no address: write unix:///PATH (an absolute path) or tcp://127.0.0.1:PORT")


@contextmanager
def bound(address: Address, bind: Callable[[str], int]) -> Iterator[Address]:
    """Bind by `bind(target)`, which returns the port; gives the address as bound, and takes its socket away at the end.

    Raises ListenError when the address is taken or cannot be had.
    """
    if address.path is None:
        try:
            port = bind(address.target)
        except RuntimeError:
            raise ListenError(f"cannot listen on {address}: the port is taken, choose another one") from None
        yield Address(None, address.host, port)
        return
    made = _bind(address.path, bind)
    try:
        yield address
    finally:
        with suppress(OSError):
            if _identity(address.path) == made:
                address.path.unlink()


@contextmanager
def stale(path: Path) -> Iterator[None]:
    """While the block runs, a socket stands there that nobody listens on, as a killed runtime leaves it.

    Nothing where another file has taken its place.
    """
    umask = os.umask(0o177)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left, suppress(OSError):
            left.bind(os.fspath(path))
    finally:
        os.umask(umask)
    made = _identity(path) if path.is_socket() else None
    try:
        yield
    finally:
        with suppress(OSError):
            if _identity(path) == made and not _answers(path):
                path.unlink()


def _bind(path: Path, bind: Callable[[str], int]) -> tuple[int, int]:
    """Bind a socket that only its owner may open, and give its identity.

    gRPC removes, at its end, whatever socket then has the name that it bound. So it binds a name that nobody knows,
    and the socket gets its right name by a link, which also replaces nothing that came in between.
    """
    hidden = path.with_name(f".{os.getpid()}.sock")
    longest = max(len(os.fsencode(path)), len(os.fsencode(hidden)))
    if longest > _LONGEST_PATH:
        text = f"the socket path {path} is {longest - _LONGEST_PATH} bytes too long: choose a shorter folder or name"
        raise ListenError(text)
    _make_room(path)
    umask = os.umask(0o177)
    try:
        bind(f"unix:{hidden}")
        try:
            os.link(hidden, path)
        except PermissionError:  # a filesystem without links
            os.rename(hidden, path)
        return _identity(path)
    except FileExistsError:
        raise ListenError(f"something else has just begun to listen on {path}: choose another path") from None
    except (RuntimeError, OSError):
        raise ListenError(f"cannot create the socket {path}: check that its folder can be written") from None
    finally:
        os.umask(umask)
        with suppress(OSError):
            hidden.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _make_room(path: Path) -> None:
    """Removes a stale socket, and nothing else. Raises ListenError for whatever else is there."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise ListenError(f"the folder {path.parent} does not exist: create it first") from None
        return
    except OSError as error:
        raise ListenError(f"cannot look at {path}: {_words(error)}") from None
    if not stat.S_ISSOCK(kind):
        raise ListenError(f"{path} exists and is no socket: remove it, or choose another path")
    if _answers(path):
        raise ListenError(f"something listens on {path} already: stop it, or choose another path")
    try:
        path.unlink()
    except OSError as error:
        raise ListenError(f"cannot replace the stale socket {path}: {_words(error)}") from None


def _answers(path: Path) -> bool:
    """Whether a process listens there. When in doubt, yes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
        return True


def _words(error: OSError) -> str:
    return error.strerror or str(error)
