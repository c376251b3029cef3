"""The HTTP application: all routes over one engine, behind one guard."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from neuronspec.serving.answers import ErrorAnswer, HealthAnswer
from neuronspec.serving.engine import ServingEngine
from neuronspec.serving.guard import Guard
from neuronspec.serving.libretranslate import make_libretranslate_router
from neuronspec.serving.limits import ServingLimits
from neuronspec.serving.metrics import CONTENT_TYPE
from neuronspec.serving.native_api import make_native_router
from neuronspec.serving.neurons_api import ObservedEngine, make_neurons_router
from neuronspec.serving.openapi_page import write_openapi_page
from neuronspec.serving.options import ServingOptions
from neuronspec.serving.page.routes import make_page_router
from neuronspec.serving.service import Service
from neuronspec.serving.validation import describe_problem
from neuronspec.version import __version__

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_DESCRIPTION = "Translates texts of any mix of directions; speaks LibreTranslate's API, too."


def make_app(
    engine: ServingEngine, limits: ServingLimits | None = None, options: ServingOptions | None = None
) -> FastAPI:
    """Return an ASGI application that translates with an engine.

    Args:
        engine: Engine that translates. It is called from one thread, and not closed.
        limits: Limits of requests, queue and time.
        options: Who may use the service, and how it translates by default.

    Raises:
        NeuronspecError: If an option cannot be read.
    """
    service = Service(engine, limits or ServingLimits(), options or ServingOptions())

    @contextlib.asynccontextmanager
    async def run(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.batcher.close()

    app = FastAPI(
        title="neuronspec",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=run,
        # The usual pages of FastAPI load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        # A redirection would lead to whatever name the client has sent.
        redirect_slashes=False,
    )
    app.state.service = service
    app.include_router(make_native_router(service))
    app.include_router(make_libretranslate_router(service))
    if isinstance(engine, ObservedEngine):
        app.include_router(make_neurons_router(service, engine))
    app.include_router(make_page_router(service))
    _add_status_routes(app, service)
    _add_error_answers(app)
    _add_guard(app, service)
    return app


def _add_status_routes(app: FastAPI, service: Service) -> None:
    """Add the routes of those who run the service."""

    @app.get("/health", tags=["status"], responses={503: {"model": HealthAnswer}})
    async def check_health(response: Response) -> HealthAnswer:
        """Return whether the service accepts requests."""
        status = "stopping" if service.is_stopping else "stalled" if service.batcher.is_stalled else "ok"
        if status != "ok":
            response.status_code = 503
        return HealthAnswer(status=status)

    @app.get("/metrics", tags=["status"], responses={401: {"model": ErrorAnswer}})
    async def show_metrics() -> Response:
        """Show metrics for Prometheus."""
        return Response(service.metrics.write(), headers={"content-type": CONTENT_TYPE})

    @app.get("/docs", include_in_schema=False)
    async def show_routes() -> HTMLResponse:
        """Show all routes on a page."""
        return HTMLResponse(write_openapi_page(app.openapi()))


def _add_error_answers(app: FastAPI) -> None:
    """Answer the errors of FastAPI in LibreTranslate's form, without a word of the request; the guard answers ours."""

    @app.exception_handler(RequestValidationError)
    async def explain(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = error.errors()
        is_json = problems[0]["type"] != "json_invalid"
        return JSONResponse({"error": describe_problem(problems)}, status_code=422 if is_json else 400)

    @app.exception_handler(HTTPException)
    async def answer(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(
            {"error": _STATUSES.get(error.status_code, "the request cannot be answered")},
            error.status_code,
            error.headers,
        )


_STATUSES = {
    400: "the body cannot be read",
    404: "there is no such page: GET /docs lists them",
    405: "this page has no such method: GET /docs lists them",
}


def _add_guard(app: FastAPI, service: Service) -> None:
    """Put the guard in front of everything, and let chosen pages of other places read all answers."""
    routes = frozenset({*app.openapi()["paths"], "/docs", "/openapi.json", "/"})

    # Old versions of Starlette give the application by this name.
    def wrap(app: ASGIApp) -> Any:
        return Guard(app, service, routes)

    # The last one comes first.
    app.add_middleware(wrap)
    if service.origins.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.origins.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )
