"""The HTTP application."""

from __future__ import annotations

from fastapi import FastAPI

from neuronspec.serving.batching import Batcher
from neuronspec.serving.engine import ServingEngine
from neuronspec.serving.limits import ServingLimits
from neuronspec.serving.native_api import make_router
from neuronspec.serving.page.routes import make_page_router
from neuronspec.version import __version__


def make_app(engine: ServingEngine, limits: ServingLimits | None = None, *, token: str | None = None) -> FastAPI:
    """Return an ASGI application that translates with an engine.

    Args:
        engine: Engine that translates. It is called from one thread, and not closed.
        limits: Limits of requests, queue and time.
        token: Token that requests must carry; none if anybody may ask.
    """
    app = FastAPI(title="neuronspec", version=__version__, docs_url=None, redoc_url=None)
    batcher = Batcher(engine, limits or ServingLimits())
    app.include_router(make_router(engine, batcher))
    app.include_router(make_page_router(engine))

    @app.get("/health")
    async def read_health() -> dict[str, str]:
        return {"status": "ok"}

    return app
