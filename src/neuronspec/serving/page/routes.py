"""The routes of the page, with headers that keep a browser from running or loading anything else."""

from __future__ import annotations

from fastapi import APIRouter, Response

from neuronspec.serving.page.assets import join_scripts, join_styles, read_markup

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


def make_page_router() -> APIRouter:
    """Return the routes of the page, which anybody may open: what it asks the service needs the key."""
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

    return router
