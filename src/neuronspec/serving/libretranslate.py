"""LibreTranslate's HTTP API, so that its clients work as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from neuronspec.serving.answers import ErrorAnswer
from neuronspec.serving.forms import Fields, read_fields
from neuronspec.serving.refusals import RefusedError
from neuronspec.serving.service import check_texts
from neuronspec.serving.wanted import AUTO, FORMATS, MOST_ALTERNATIVES, read_text, read_wanted
from neuronspec.serving.whole_texts import show_detection, translate_wanted

if TYPE_CHECKING:
    from neuronspec.serving.service import Service


def make_libretranslate_router(service: Service) -> APIRouter:
    """Return the routes of the API."""
    router = APIRouter(tags=["LibreTranslate"])
    refusals: dict[int | str, dict[str, Any]] = {status: {"model": ErrorAnswer} for status in (400, 403, 413, 503, 504)}

    @router.post("/translate", responses=refusals, openapi_extra=_describe_body(_TRANSLATE_FIELDS))
    async def translate(request: Request) -> dict[str, Any]:
        """Translate a text or a list of texts, in JSON or as a form."""
        fields = await read_fields(request, service.limits)
        check_key(service, request, fields)
        wanted = read_wanted(fields)
        return await translate_wanted(service, request, wanted)

    @router.post("/detect", responses=refusals, openapi_extra=_describe_body(_DETECT_FIELDS))
    async def detect(request: Request) -> list[dict[str, Any]]:
        """Find the languages that a text may be in, the likeliest first."""
        fields = await read_fields(request, service.limits)
        check_key(service, request, fields)
        text = read_text(fields, "q")
        check_texts([text], service.limits)
        return [show_detection(found) for found in await service.detect(text)]

    @router.get("/languages")
    async def list_languages() -> list[dict[str, Any]]:
        """List the languages, each with those that it can be translated into."""
        return [
            {"code": language.code, "name": language.name, "targets": list(language.targets)}
            for language in service.languages
        ]

    @router.get("/frontend/settings")
    async def show_settings() -> dict[str, Any]:
        """Show what a page of LibreTranslate asks for."""
        return _describe_settings(service)

    return router


def check_key(service: Service, request: Request, fields: Fields) -> None:
    """Refuse a request without the token of the service, as `api_key` or in the header Authorization.

    Raises:
        RefusedError: With status 403, as LibreTranslate has it.
    """
    key = fields.get("api_key")
    if service.token.accepts(key if isinstance(key, str) else None):
        return
    if not service.token.accepts_header(request.headers.get("authorization")):
        service.metrics.refused.labels("token").inc()
        raise RefusedError(403, "Invalid API key" if key else "an api_key is needed: ask whoever runs this service")


def _describe_settings(service: Service) -> dict[str, Any]:
    """Return the settings of a page of LibreTranslate."""
    sources: Sequence[Any] = service.languages.sources
    first = {"code": AUTO, "name": "Auto Detect"}
    target = next(iter(sources[0].targets), "") if sources else ""
    names = {language.code: language.name for language in service.languages}
    return {
        "apiKeys": service.token.is_needed,
        "charLimit": service.limits.characters,
        "filesTranslation": False,
        "frontendTimeout": 500,
        "keyRequired": service.token.is_needed,
        "language": {"source": first, "target": {"code": target, "name": names.get(target, target)}},
        "suggestions": False,
        "supportedFilesFormat": [],
    }


_DETECT_FIELDS = {
    "q": {"type": "string", "description": "Text."},
    "api_key": {"type": "string", "description": "Token of the service, if it has one."},
}
_TRANSLATE_FIELDS = {
    "q": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], "description": "Texts."},
    "source": {"type": "string", "description": "Language code, or auto."},
    "target": {"type": "string", "description": "Language code."},
    "format": {"type": "string", "enum": list(FORMATS), "default": "text"},
    "alternatives": {"type": "integer", "default": 0, "minimum": 0, "maximum": MOST_ALTERNATIVES},
    "api_key": _DETECT_FIELDS["api_key"],
}


def _describe_body(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a body for the OpenAPI page."""
    optional = {"api_key", "format", "alternatives"}
    schema = {
        "type": "object",
        "properties": fields,
        "required": [name for name in fields if name not in optional],
    }
    kinds = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}}
