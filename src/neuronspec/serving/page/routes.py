"""The routes of the page, with headers that keep a browser from running or loading anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from pydantic import BaseModel

from neuronspec.serving.neurons_api import ObservedEngine
from neuronspec.serving.page.assets import join_scripts, join_styles, read_markup

if TYPE_CHECKING:
    from neuronspec.serving.service import Service

# Files and answers of this service alone: nothing inline, no frames, no forms that lead elsewhere
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Offer(BaseModel):
    """Questions that the page can ask the service.

    Attributes:
        tasks: Directions.
        base_tasks: Directions that the model with all of its neurons translates, too.
        has_neurons: Whether the service says which neurons fired.
        needs_key: Whether it wants an API key.
    """

    tasks: list[str]
    base_tasks: list[str]
    has_neurons: bool
    needs_key: bool


def make_page_router(service: Service) -> APIRouter:
    """Return the routes of the page, which anybody may open: translating needs the key."""
    router = APIRouter(include_in_schema=False)
    markup, style, script = read_markup(), join_styles(), join_scripts()

    @router.get("/")
    async def read_page() -> Response:
        return Response(markup, media_type="text/html", headers=HEADERS)

    @router.get("/page/style.css")
    async def read_style() -> Response:
        return Response(style, media_type="text/css", headers=HEADERS)

    @router.get("/page/script.js")
    async def read_script() -> Response:
        return Response(script, media_type="text/javascript", headers=HEADERS)

    @router.get("/page/offer")
    async def read_offer() -> Offer:
        return Offer(
            tasks=list(service.engine.tasks),
            base_tasks=list(getattr(service.engine, "base_tasks", ())),
            has_neurons=isinstance(service.engine, ObservedEngine),
            needs_key=service.token.is_needed,
        )

    return router
