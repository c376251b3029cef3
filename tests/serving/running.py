"""Applications that answer on a port of this machine while a test runs."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI
from tests.patience import PATIENCE


@contextlib.contextmanager
def answering(app: FastAPI) -> Iterator[str]:
    """Answer in another thread; the value is the address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()

        deadline = time.monotonic() + PATIENCE
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"

        server.should_exit = True
        thread.join(PATIENCE)
