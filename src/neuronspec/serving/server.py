"""The server: an application on an address, until a signal asks it to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from neuronspec.interruption import ONE_REQUEST, REQUESTS
from neuronspec.serving.connections import make_protocol
from neuronspec.serving.listening import Listener, allow_connections, open_listener
from neuronspec.serving.refusals import RefusedError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from neuronspec.serving.service import Service

logger = logging.getLogger(__name__)

Announce = Callable[[str], None]
_BACKLOG = 2_048  # connections that wait to be accepted
_LONGEST_HEADERS = 16_384  # bytes
_TICK = 0.05  # seconds
_LAST_REQUESTS = 0.2  # seconds in which accepted connections may still send theirs
_LAST_SECONDS = 5  # for answers that are on their way
SIGNALED = 128  # shells add the number of a signal to it


def serve(
    app: FastAPI, *, port: int = 5000, listener: Listener | None = None, announce: Announce | None = None
) -> None:
    """Answer requests until a signal asks to stop, and then those that were accepted.

    A second signal ends the process at once.

    Args:
        app: Application, as `make_app` returns it; its options name the address to listen on.
        port: Port to listen on; 0 chooses a free one.
        listener: Socket to listen on instead, as `open_listener` returns it.
        announce: Function that is called with the address as soon as connections are accepted.

    Raises:
        NeuronspecError: If the address cannot be used, or other machines could reach it and it needs no token.
    """
    service: Service = app.state.service
    listener = listener or open_listener(service.options.host, port)
    replace(service.options, host=listener.host).check()
    service.prepare()
    allow_connections(service.limits.connections)
    config = uvicorn.Config(
        app,
        http=make_protocol(service.limits),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=max(1, round(service.limits.idle_seconds)),
        timeout_graceful_shutdown=_LAST_SECONDS,
        h11_max_incomplete_event_size=_LONGEST_HEADERS,
    )
    # Its messages quote what clients send; ours are enough.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

    with contextlib.closing(listener.socket):
        _Server(config, service, listener, announce).run(sockets=[listener.socket])


class _Server(uvicorn.Server):
    """A server that answers what it has accepted before it stops."""

    def __init__(self, config: uvicorn.Config, service: Service, listener: Listener, announce: Announce | None) -> None:
        super().__init__(config)
        self._service = service
        self._listener = listener
        self._announce = announce
        self._asked_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and say where."""
        await super().startup(sockets)
        if self._announce is not None:
            self._announce(self._listener.address)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals ask the server to stop, those excepted that are ignored (as by `nohup`)."""
        loop = asyncio.get_running_loop()

        def handle(number: int, _: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._ask_to_stop, number)

        in_main_thread = threading.current_thread() is threading.main_thread()
        before = {number: signal.getsignal(number) for number in REQUESTS if in_main_thread}
        handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in handled:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number in handled:
                signal.signal(number, before[number])

    def _ask_to_stop(self, number: int) -> None:
        """Stop after the answers to all accepted requests; at the second signal, at once."""
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            logger.info("stopping: requests that were accepted are answered; a second signal stops at once")
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
        elif now - self._asked_at > ONE_REQUEST:
            _leave(number, "stopped at once: some requests were not answered")

    async def _stop(self) -> None:
        """Refuse new requests, wait for the answers to others, and end the server."""
        # On a socket of its own, the service says why it refuses new requests. One that it was given is left to whoever
        # comes next, with the connections that wait; those that were accepted just now are answered.
        service = self._service
        if self._listener.is_inherited:
            # Closing the socket here would drop connections that are being accepted.
            asyncio.get_running_loop().remove_reader(self._listener.socket)
            await asyncio.sleep(_LAST_REQUESTS)
        service.stop()

        deadline = time.monotonic() + service.limits.stop_seconds
        while not service.is_idle and time.monotonic() < deadline:
            await asyncio.sleep(_TICK)
        if service.is_idle:
            self.should_exit = True
            return

        # What takes too long is refused, and what computes it is not waited for.
        service.batcher.refuse_all(RefusedError(503, "the service has stopped: ask again later", closes=True))
        await asyncio.sleep(2 * _TICK)
        _leave(
            signal.SIGTERM, f"stopped after {service.limits.stop_seconds:g} seconds: some requests were not answered"
        )


def _leave(number: int, message: str) -> None:
    """End the process without waiting for anything."""
    logger.warning(message)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(SIGNALED + number)
