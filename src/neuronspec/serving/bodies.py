"""Bodies of requests: read whole, but no longer and not larger than the limits say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from neuronspec.serving.limits import ServingLimits
from neuronspec.serving.refusals import STATUS_GONE, RefusedError

if TYPE_CHECKING:
    from starlette.types import Message, Receive

Reserve = Callable[[int, bool], None]
"""Function that takes bytes of memory for a body, of which more follows or not."""

# How much of a body that is too large is read and forgotten, so that its sender reads the answer
_DRAINED = 64_000_000  # bytes
_DRAIN_SECONDS = 3.0


class BodyRoom:
    """The memory for the bodies of all requests.

    Args:
        limit: Number of bytes.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit

    @contextlib.contextmanager
    def reserve(self) -> Iterator[Reserve]:
        """Yield a function that takes bytes of the room for one request, which gets them back at the end.

        The function raises a `RefusedError` (503) if there is no room left.
        """
        taken = 0

        def take(size: int, more: bool) -> None:
            nonlocal taken
            if size > self._left:
                raise RefusedError(
                    503,
                    "too much text arrives at the moment: ask again later",
                    retry_after=1,
                    closes=True,
                    lingers=more,
                )
            self._left -= size
            taken += size

        try:
            yield take
        finally:
            self._left += taken


async def read_body(receive: Receive, length: str | None, limits: ServingLimits, take: Reserve) -> bytes:
    """Return the body of a request.

    Args:
        receive: Function of the ASGI server.
        length: Header Content-Length; None for a body in chunks, or none.
        limits: Largest size, and the time for all of it.
        take: Function that takes memory for it.

    Raises:
        RefusedError: If it is too large (413) or too slow (408), there is no memory for it (503), or its sender is
            gone.
    """
    # A size that is too large is refused before the first byte.
    if length is not None and length.isdecimal() and int(length[:20]) > limits.body:
        raise _refuse_large(limits, lingers=True)

    body = bytearray()
    try:
        async with asyncio.timeout(limits.read_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(STATUS_GONE, "the client is gone", closes=True)
                part, more = message.get("body", b""), message.get("more_body", False)
                if len(body) + len(part) > limits.body:
                    raise _refuse_large(limits, lingers=more)
                take(len(part), more)
                body += part
                if not more:
                    return bytes(body)
    except TimeoutError:
        raise RefusedError(
            408, f"the body did not arrive within {limits.read_seconds:g} seconds: send it faster", closes=True
        ) from None


async def drain_body(receive: Receive) -> None:
    """Read and forget what is left of a body for a moment: a client that still sends reads no answer."""
    size = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while size < _DRAINED:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def replay_body(body: bytes, receive: Receive) -> Receive:
    """Return a function of an ASGI server that gives a body that was read already."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _refuse_large(limits: ServingLimits, *, lingers: bool) -> RefusedError:
    return RefusedError(
        413,
        f"the body has more than {limits.body} bytes: send fewer texts at a time",
        closes=True,
        lingers=lingers,
    )
