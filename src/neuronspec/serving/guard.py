"""The guard in front of the application: checks every request, and answers whatever goes wrong behind it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from neuronspec.serving.bodies import Reserve, drain_body, read_body, replay_body
from neuronspec.serving.refusals import STATUS_GONE, RefusedError, describe_error, send_refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from neuronspec.serving.service import Service

logger = logging.getLogger(__name__)

# Nothing of a page comes from elsewhere, nobody frames it, and no browser guesses types or keeps answers.
SECURITY_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
PROTECTED = ("/v1/", "/metrics")  # paths that need the token in a header
_REFUSED_BY = {401: "token", 403: "origin", 408: "body", 413: "body", 421: "host"}


class Guard:
    """ASGI middleware that every request passes.

    Args:
        app: Application behind it.
        service: Limits, checks and metrics.
        routes: Paths that metrics may name.
    """

    def __init__(self, app: ASGIApp, service: Service, routes: frozenset[str]) -> None:
        self._app = app
        self._service = service
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        began = time.monotonic()
        answer = _Answer(send)
        with self._service.metrics.in_flight.track_inprogress():
            await self._answer(scope, receive, answer)
        route = scope["path"] if scope["path"] in self._routes else "other"
        self._service.metrics.note_request(route, answer.status, time.monotonic() - began)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        """Let the application answer; whatever it raises becomes an answer, too."""
        # HEAD is GET without the body of the answer, which the server leaves out.
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            with self._service.room.reserve() as take:
                body = await self._admit(scope, receive, take)
                await self._app(inner, replay_body(body, receive), answer.send)
        except RefusedError as refusal:
            await self._refuse(refusal, receive, answer)
        except Exception as error:
            logger.error("a request failed: %s", describe_error(error))
            failure = RefusedError(500, "an error of the service, which its log describes", closes=True)
            await self._refuse(failure, receive, answer)

    async def _admit(self, scope: Scope, receive: Receive, take: Reserve) -> bytes:
        """Check a request and return its body.

        Raises:
            RefusedError: If it comes from a wrong place, lacks a token, or has a body that is too large or too slow.
        """
        headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
        if {b"content-length", b"transfer-encoding"} <= headers.keys():
            # A proxy may read another end of the body, and take the rest for the request of somebody else.
            raise RefusedError(400, "the body has two lengths: send it with one, or in chunks", closes=True)
        self._service.origins.check(scope["method"], headers.get(b"host"), headers.get(b"origin"))

        is_protected = scope["path"].startswith(PROTECTED)
        if is_protected and not self._service.token.accepts_header(headers.get(b"authorization")):
            raise RefusedError(
                401,
                "this needs the token of the service: Authorization: Bearer TOKEN",
                headers={"www-authenticate": "Bearer"},
            )
        return await read_body(receive, headers.get(b"content-length"), self._service.limits, take)

    async def _refuse(self, refusal: RefusedError, receive: Receive, answer: _Answer) -> None:
        """Send a refusal, unless an answer has begun; its connection then ends."""
        if refusal.status in _REFUSED_BY:
            self._service.metrics.refused.labels(_REFUSED_BY[refusal.status]).inc()

        # Without a reader, or in the middle of an answer, the connection just ends.
        if answer.status or refusal.status == STATUS_GONE:
            answer.status = answer.status or refusal.status
            return

        await send_refusal(refusal, answer.send, ends=not refusal.lingers)
        if refusal.lingers:
            await drain_body(receive)
            await answer.send({"type": "http.response.body", "body": b"", "more_body": False})


class _Answer:
    """The answer to a request.

    Attributes:
        status: Its status; 0 as long as it has not begun.
    """

    def __init__(self, send: Send) -> None:
        self.status = 0
        self._send = send

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with the headers that all answers have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {name.lower() for name, _ in message.get("headers", ())}
            more = [(name, value) for name, value in SECURITY_HEADERS if name not in own]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await self._send(message)
