"""The server: an application on an address, until a signal asks it to stop."""

from __future__ import annotations

import uvicorn
from fastapi import FastAPI


def serve(app: FastAPI, *, host: str = "127.0.0.1", port: int = 5000) -> None:
    """Answer requests until a signal asks to stop.

    Args:
        app: Application, as `make_app` returns it.
        host: Address to listen on; by default only programs on this machine can connect.
        port: Port to listen on; 0 chooses a free one.
    """
    uvicorn.run(app, host=host, port=port, access_log=False)
