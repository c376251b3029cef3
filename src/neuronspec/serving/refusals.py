"""Refusals: what a client is answered instead of a translation, without a word of any text."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Send

STATUS_GONE = 499  # the client closed the connection: nobody reads the answer


class RefusedError(Exception):
    """A request that is not answered with a translation.

    Args:
        status: Status of the answer.
        message: Sentence for the client: what is wrong, and what to do. It quotes no text.
        retry_after: Seconds after which the client may ask again; None if that would not help.
        closes: Whether the connection ends with the answer.
        lingers: Whether the client may still send its body: it would lose an answer that ends the connection at once.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        retry_after: int | None = None,
        closes: bool = False,
        lingers: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.lingers = lingers
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["retry-after"] = str(retry_after)
        if closes:
            self.headers["connection"] = "close"

    @property
    def body(self) -> bytes:
        """The body of the answer, which has LibreTranslate's form."""
        return json.dumps({"error": self.message}).encode("ascii")


async def send_refusal(refusal: RefusedError, send: Send, *, ends: bool = True) -> None:
    """Answer a request with a refusal.

    Args:
        refusal: Status, headers and message.
        send: Function of the ASGI server.
        ends: Whether the answer ends with it; if not, an empty part must follow.
    """
    body = refusal.body
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": not ends})


def describe_error(error: BaseException) -> str:
    """Return the kind of an error and where it was raised, for the log.

    The message of an error can hold what somebody wanted to have translated, so it stays out of the log.

    Example:
        >>> try:
        ...     int("a secret")
        ... except ValueError as error:
        ...     describe_error(error).partition(" in ")[0]
        'ValueError'
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    last = frames[-1]
    return f"{type(error).__name__} in {last.name} ({Path(last.filename).name}:{last.lineno})"
