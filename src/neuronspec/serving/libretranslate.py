"""LibreTranslate's HTTP API, so that its clients work as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from neuronspec.errors import NeuronspecError
from neuronspec.serving.answers import ErrorAnswer
from neuronspec.serving.engine import Sentence
from neuronspec.serving.forms import Fields, read_fields
from neuronspec.serving.refusals import RefusedError
from neuronspec.serving.service import check_texts

if TYPE_CHECKING:
    from neuronspec.serving.detection import Detection
    from neuronspec.serving.service import Service

AUTO = "auto"
_LONGEST_CODE = 40  # characters: longer ones are no codes, and no message quotes them
_MOST_ALTERNATIVES = 10


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A request for translations.

    Attributes:
        texts: Texts to translate.
        is_list: Whether they came as a list, and their translations go as one.
        source: Code of their language, or `auto`.
        target: Code of the language of the translations.
        alternatives: Number of further translations that the client would take.
    """

    texts: list[str]
    is_list: bool
    source: str
    target: str
    alternatives: int


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
        return await _translate(service, request, wanted)

    @router.post("/detect", responses=refusals, openapi_extra=_describe_body(_DETECT_FIELDS))
    async def detect(request: Request) -> list[dict[str, Any]]:
        """Find the languages that a text may be in, the likeliest first."""
        fields = await read_fields(request, service.limits)
        check_key(service, request, fields)
        text = _read_text(fields, "q")
        check_texts([text], service.limits)
        return [_show(found) for found in await service.detect(text)]

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


def read_wanted(fields: Fields) -> Wanted:
    """Return what a request asks for.

    Args:
        fields: Fields of the request.

    Raises:
        RefusedError: If one is missing or wrong (400).
    """
    texts = fields.get("q")
    is_list = isinstance(texts, list)
    listed = texts if isinstance(texts, list) else [_read_text(fields, "q")]
    if not all(isinstance(text, str) for text in listed):
        raise RefusedError(400, "Invalid request: q is no text or list of texts")

    kind = fields.get("format") or "text"
    if kind != "text":
        raise RefusedError(400, "Invalid request: format must be text; markup is not translated here")
    return Wanted(
        texts=listed,
        is_list=is_list,
        source=_read_code(fields, "source"),
        target=_read_code(fields, "target"),
        alternatives=_read_count(fields, "alternatives"),
    )


async def _translate(service: Service, request: Request, wanted: Wanted) -> dict[str, Any]:
    """Translate texts and return the answer."""
    service.check_accepting()
    check_texts(wanted.texts, service.limits)
    detected = await _detect_sources(service, wanted)
    sources = [found.code for found in detected] if detected else [wanted.source] * len(wanted.texts)

    # A text in the wanted language is its own translation.
    rows, places = [], []
    translations = list(wanted.texts)
    for place, source in enumerate(sources):
        task = _find_task(service, source, wanted.target, is_detected=bool(detected))
        if task is not None:
            rows.append(Sentence(text=wanted.texts[place], task=task, beams=service.options.beams))
            places.append(place)
    for place, translation in zip(places, await service.translate(request, rows), strict=True):
        translations[place] = translation

    answer: dict[str, Any] = {"translatedText": translations if wanted.is_list else translations[0]}
    if wanted.source == AUTO:
        shown = list(map(_show, detected))
        answer["detectedLanguage"] = shown if wanted.is_list else shown[0]
    if wanted.alternatives:  # the engines keep only the best translation
        answer["alternatives"] = [[] for _ in translations] if wanted.is_list else []
    return answer


async def _detect_sources(service: Service, wanted: Wanted) -> list[Detection]:
    """Return the language of each text, if the client leaves it to the service."""
    if wanted.source != AUTO:
        return []
    try:
        return [await service.choose_language(text) for text in wanted.texts]
    except NeuronspecError as error:
        raise RefusedError(400, str(error)) from error


def _find_task(service: Service, source: str, target: str, *, is_detected: bool) -> str | None:
    """Return the direction from one language to another; None if both are the same.

    Raises:
        RefusedError: If there is none (400).
    """
    languages = service.languages
    try:
        if languages.find(source).code == languages.find(target).code:
            return None
        return languages.find_task(source, target)
    except NeuronspecError as error:
        raise RefusedError(400, str(error)) from error


def _read_text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if value is None:
        raise RefusedError(400, f"Invalid request: missing {name} parameter")
    if not isinstance(value, str):
        raise RefusedError(400, f"Invalid request: {name} is no text")
    return value


def _read_code(fields: Fields, name: str) -> str:
    code = _read_text(fields, name).strip()
    if not code:
        raise RefusedError(400, f"Invalid request: missing {name} parameter")
    if len(code) > _LONGEST_CODE or not code.isascii() or not code.isprintable():
        raise RefusedError(400, f"Invalid request: {name} is no language code")
    return code


def _read_count(fields: Fields, name: str) -> int:
    """Return a small number, which forms write as text."""
    value = fields.get(name) or 0
    if isinstance(value, str) and value.isdecimal() and len(value) <= len(str(_MOST_ALTERNATIVES)):
        value = int(value)
    if not isinstance(value, int) or not 0 <= value <= _MOST_ALTERNATIVES:
        raise RefusedError(400, f"Invalid request: {name} is no number from 0 to {_MOST_ALTERNATIVES}")
    return value


def _show(found: Detection) -> dict[str, Any]:
    return {"confidence": found.confidence, "language": found.code}


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
    "format": {"type": "string", "enum": ["text"], "default": "text"},
    "alternatives": {"type": "integer", "default": 0, "minimum": 0, "maximum": _MOST_ALTERNATIVES},
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
