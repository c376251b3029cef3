"""The fields of a request for translations, as clients of LibreTranslate send them."""

from __future__ import annotations

from dataclasses import dataclass

from neuronspec.serving.forms import Fields
from neuronspec.serving.refusals import RefusedError

AUTO = "auto"
FORMATS = ("text", "html")
MOST_ALTERNATIVES = 10
_LONGEST_CODE = 40  # characters: longer ones are no codes, and no message quotes them


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A request for translations.

    Attributes:
        texts: Texts to translate.
        is_list: Whether they came as a list, and their translations go as one.
        source: Code of their language, or `auto`.
        target: Code of the language of the translations.
        is_markup: Whether the texts are HTML, of which only what stands between tags is translated.
        alternatives: Number of further translations that the client would take.
    """

    texts: list[str]
    is_list: bool
    source: str
    target: str
    is_markup: bool
    alternatives: int


def read_wanted(fields: Fields) -> Wanted:
    """Return what a request asks for.

    Args:
        fields: Fields of the request.

    Raises:
        RefusedError: If one is missing or wrong (400).
    """
    texts = fields.get("q")
    is_list = isinstance(texts, list)
    listed = texts if isinstance(texts, list) else [read_text(fields, "q")]
    if not all(isinstance(text, str) for text in listed):
        raise RefusedError(400, "Invalid request: q is no text or list of texts")

    kind = fields.get("format") or "text"
    if kind not in FORMATS:
        raise RefusedError(400, f"Invalid request: format must be {' or '.join(FORMATS)}")
    return Wanted(
        texts=listed,
        is_list=is_list,
        source=_read_code(fields, "source"),
        target=_read_code(fields, "target"),
        is_markup=kind == "html",
        alternatives=_read_count(fields, "alternatives"),
    )


def read_text(fields: Fields, name: str) -> str:
    """Return a field that must be a text.

    Raises:
        RefusedError: If it is missing or something else (400).
    """
    value = fields.get(name)
    if value is None:
        raise RefusedError(400, f"Invalid request: missing {name} parameter")
    if not isinstance(value, str):
        raise RefusedError(400, f"Invalid request: {name} is no text")
    return value


def _read_code(fields: Fields, name: str) -> str:
    code = read_text(fields, name).strip()
    if not code:
        raise RefusedError(400, f"Invalid request: missing {name} parameter")
    if len(code) > _LONGEST_CODE or not code.isascii() or not code.isprintable():
        raise RefusedError(400, f"Invalid request: {name} is no language code")
    return code


def _read_count(fields: Fields, name: str) -> int:
    """Return a small number, which forms write as text."""
    value = fields.get(name) or 0
    if isinstance(value, str) and value.isdecimal() and len(value) <= len(str(MOST_ALTERNATIVES)):
        value = int(value)
    if not isinstance(value, int) or not 0 <= value <= MOST_ALTERNATIVES:
        raise RefusedError(400, f"Invalid request: {name} is no number from 0 to {MOST_ALTERNATIVES}")
    return value
