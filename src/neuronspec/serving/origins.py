"""Names and pages from which requests may come, so that no page in a browser uses a service that is not its own.

A service on the loopback interface is reached by every page that a user of the machine opens. A page of another
place can send it requests (CSRF), and one whose name is made to point to 127.0.0.1 can even read the answers (DNS
rebinding). The first shows in the header Origin, the second in the header Host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from neuronspec.errors import NeuronspecError
from neuronspec.serving.refusals import RefusedError

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_WEB = ("http", "https", "null")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class OriginCheck:
    """Refuses requests with a wrong Host, and those that pages of other places send.

    Args:
        host: Address that the service listens on.
        hosts: Further names of the service.
        origins: Origins of pages that may use it, such as `https://example.org`.

    Raises:
        NeuronspecError: If an origin is not written as browsers send it.
    """

    def __init__(self, host: str, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        names = {name.lower() for name in hosts}
        self._origins = frozenset(map(_check_origin, origins))

        # On other addresses than loopback a token protects the service, under any name that leads there.
        self._hosts = {host.lower(), *_LOOPBACK_NAMES, *names} if is_loopback(host) else names or None

    @property
    def origins(self) -> list[str]:
        """Origins of pages that may use the service and read its answers."""
        return sorted(self._origins)

    def check(self, method: str, host: str | None, origin: str | None) -> None:
        """Refuse a request that comes from a wrong place.

        Args:
            method: Method of the request.
            host: Its header Host.
            origin: Its header Origin.

        Raises:
            RefusedError: With status 421 for the host, and 403 for the origin.
        """
        if self._hosts is not None and _find_name(host or "") not in self._hosts:
            raise RefusedError(421, "this service has no such name: see its option --allow-host")

        if origin is None or method in _SAFE_METHODS or origin in self._origins:
            return
        # Extensions of a browser were installed by its user.
        scheme = origin.partition(":")[0].lower()
        if scheme in _WEB and _find_place(origin) != (host or "").lower():
            raise RefusedError(403, "this service answers no pages of other places: see its option --allow-origin")


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_origin(origin: str) -> str:
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or f"{parts.scheme}://{parts.netloc}".lower() != origin.lower():
        raise NeuronspecError(f"--allow-origin {origin!r} is no origin: expected https://example.org, without a path")
    return origin.lower()


def _find_name(host: str) -> str:
    """Return the name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _find_place(origin: str) -> str:
    """Return what the Host header of a request to an origin holds."""
    return origin.partition("://")[2].lower()
