"""Connections that cannot be held open for nothing: limits of time and number that uvicorn does not have."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from neuronspec.serving.limits import ServingLimits
from neuronspec.serving.refusals import RefusedError, send_refusal

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


def make_protocol(limits: ServingLimits) -> type[asyncio.Protocol]:
    """Return a protocol for uvicorn that keeps to some limits.

    Args:
        limits: Number of connections, and the time that headers may take to arrive and answers to be read.
    """

    class LimitedProtocol(_LimitedProtocol):
        serving_limits = limits

    return LimitedProtocol


class _LimitedProtocol(H11Protocol):
    """A connection that is closed if its client is too slow, or if there are too many."""

    serving_limits: ServingLimits

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._headers_due: asyncio.TimerHandle | None = None
        self._reading_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection; one too many is answered with a refusal, and far too many are closed at once."""
        super().connection_made(transport)
        excess = len(self.connections) - self.serving_limits.connections
        if excess > self.serving_limits.connections:
            transport.abort()
            return

        if excess > 0:
            self.app = _refuse_connection
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        super().data_received(data)
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering:
            self._forget_headers()
        else:
            self._expect_headers()

    def on_response_complete(self) -> None:
        """Expect the next request, and that the answer is read."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._expect_reading()

    def pause_writing(self) -> None:
        """Wait until the client has read more of the answer."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """Continue to write an answer."""
        super().resume_writing()
        self._forget_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        super().connection_lost(exc)
        self._forget_headers()
        self._forget_reading()

    def _expect_headers(self) -> None:
        """Give the client time to send the headers of a request."""
        if self._headers_due is None:
            self._headers_due = self.loop.call_later(self.serving_limits.read_seconds, self._stop_waiting)

    def _forget_headers(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _stop_waiting(self) -> None:
        """Close a connection whose request did not arrive."""
        self._headers_due = None
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if not is_answering and not self.transport.is_closing():
            self.transport.close()

    def _expect_reading(self) -> None:
        """Give the client time to read an answer."""
        if self._reading_due is None:
            self._reading_due = self.loop.call_later(self.serving_limits.read_seconds, self._stop_writing)

    def _forget_reading(self) -> None:
        if self._reading_due is not None:
            self._reading_due.cancel()
            self._reading_due = None

    def _stop_writing(self) -> None:
        """Drop an answer that nobody reads."""
        self._reading_due = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()


async def _refuse_connection(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer the request of a connection that is one too many."""
    if scope["type"] == "http":
        refusal = RefusedError(503, "too many connections at the moment: ask again later", retry_after=1, closes=True)
        await send_refusal(refusal, send)
