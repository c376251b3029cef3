"""Sockets to listen on: bound here, or given by systemd."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass

from neuronspec.errors import NeuronspecError

_FIRST_GIVEN = 3  # descriptor of the first socket that systemd gives
_SPARE_FILES = 256  # descriptors for anything but connections


@dataclass(frozen=True)
class Listener:
    """A socket that is bound to an address.

    Attributes:
        socket: The socket.
        is_inherited: Whether it was given to this process, and outlives it.
    """

    socket: socket.socket
    is_inherited: bool = False

    @property
    def host(self) -> str:
        """The address without the port."""
        return str(self.socket.getsockname()[0])

    @property
    def address(self) -> str:
        """The address as a URL."""
        host, port = self.socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def open_listener(host: str, port: int, environment: MutableMapping[str, str] = os.environ) -> Listener:
    """Return a socket to listen on: the one that systemd gives, or a new one.

    A socket of systemd (a unit with `ListenStream=`) lets a service restart without a refused connection: those that
    come meanwhile wait.

    Args:
        host: Address to listen on, if no socket is given.
        port: Port; 0 chooses a free one.
        environment: Variables of the process, by which systemd gives sockets.

    Raises:
        NeuronspecError: If the address cannot be used, or what is given is not one socket for TCP.
    """
    count = environment.pop("LISTEN_FDS", "0")
    if environment.pop("LISTEN_PID", "") == str(os.getpid()) and count != "0":
        return _take_given(count)
    return Listener(_bind(host, port))


def _take_given(count: str) -> Listener:
    """Return the only socket that this process was given."""
    try:
        given = socket.socket(fileno=_FIRST_GIVEN)
    except OSError as error:
        raise NeuronspecError(
            "LISTEN_FDS announces a socket, but there is none: start the service by its unit"
        ) from error
    if count != "1" or given.family not in (socket.AF_INET, socket.AF_INET6) or given.type != socket.SOCK_STREAM:
        raise NeuronspecError("expected one socket for TCP: ListenStream=127.0.0.1:5000, once")
    given.set_inheritable(False)
    return Listener(given, is_inherited=True)


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address."""
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise NeuronspecError(
            f"there is no address {host!r} here: expected one of this machine, as 127.0.0.1"
        ) from error

    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        raise NeuronspecError(
            f"cannot listen on {host}:{port}: {reason}; choose another --port, 0 for a free one"
        ) from error
    listener.set_inheritable(False)
    return listener


def allow_connections(count: int) -> None:
    """Let this process open as many files as it accepts connections, if the system lets it."""
    try:
        import resource
    except ImportError:  # a system without such limits
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
