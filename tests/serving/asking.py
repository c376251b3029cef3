"""Requests to an application without a socket, with the body in parts and a client that may leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI

HOST = {"host": "localhost"}


@dataclass
class Answer:
    """An answer of an application."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    read: int = 0  # parts of the body that were asked for

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    app: FastAPI,
    method: str,
    path: str,
    body: bytes | Sequence[bytes] = b"",
    headers: dict[str, str] | None = None,
    *,
    leaves: asyncio.Event | None = None,
    endless: bool = False,
) -> Answer:
    """Send a request and return the answer.

    Args:
        app: Application.
        method: Method.
        path: Path, with a query or without.
        body: Body, or its parts.
        headers: Headers, in addition to a host.
        leaves: Event after which the client is gone.
        endless: Whether the body never ends.
    """
    parts = [body] if isinstance(body, bytes) else list(body)
    answer = Answer()
    left = leaves or asyncio.Event()

    async def receive() -> dict[str, Any]:
        if answer.read < len(parts):
            answer.read += 1
            more = endless or answer.read < len(parts)
            return {"type": "http.request", "body": parts[answer.read - 1], "more_body": more}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message["body"]

    pure, _, query = path.partition("?")
    given = [(name.lower().encode(), value.encode()) for name, value in {**HOST, **(headers or {})}.items()]
    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http"},
        **{"path": pure, "raw_path": pure.encode(), "query_string": query.encode(), "root_path": ""},
        **{"headers": given, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 5000), "state": {}},
    }
    await app(scope, receive, send)
    return answer


async def post(app: FastAPI, path: str, value: Any, headers: dict[str, str] | None = None, **more: Any) -> Answer:
    """Send JSON and return the answer."""
    kind = {"content-type": "application/json"}
    return await ask(app, "POST", path, json.dumps(value).encode(), {**kind, **(headers or {})}, **more)


async def translate(app: FastAPI, *items: dict[str, Any], **more: Any) -> Answer:
    """Ask the service's own interface for translations."""
    return await post(app, "/v1/translate", {"items": list(items)}, **more)
