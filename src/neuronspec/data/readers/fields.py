"""Rows with fields: the two texts of a row of JSON or of a dataset."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from neuronspec.data.corpus_formats import Pair
from neuronspec.errors import NeuronspecError
from neuronspec.languages import list_spellings

_MISSING = object()  # where a row has no such field; null is an empty text


def decode_json(text: str, place: str) -> Any:
    """Return the JSON value in `text`.

    Raises:
        NeuronspecError: If it is not JSON; the message begins with `place`.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NeuronspecError(f"{place} is not valid JSON: {error}") from None


def read_row(row: Any, source: str, target: str, *, reverse: bool, place: str) -> Pair:
    """Return the pair in a row: the texts under the languages' codes, else those under `source` and `target`.

    Fields whose names are other spellings of the codes come last.

    Args:
        row: Fields by name; those of the texts may be under `translation`.
        source: Code of the source language.
        target: Code of the target language.
        reverse: Whether the field `source` holds the target.
        place: Where the row was found, for messages.

    Raises:
        NeuronspecError: If the row has no such fields, or they hold something else than text.
    """
    # Many datasets of the hub have both texts in one field, by language.
    texts = row.get("translation", row) if isinstance(row, dict) else row
    if not isinstance(texts, dict):
        raise NeuronspecError(f"{place} is not a JSON object with two texts but {str(row)[:60]!r}")

    # What is under the two fields must be text; null is an empty one.
    fields = _choose_fields(texts, source, target, reverse=reverse)
    left, right = (texts.get(field, _MISSING) for field in fields)
    if not _is_text(left) or not _is_text(right):
        names = ", ".join(map(str, texts)) or "none"
        raise NeuronspecError(
            f"{place} has the fields {names}; expected texts under {source!r} and {target!r}, or under 'source' and "
            f"'target'{_suggest_fields(texts, source, target)}"
        )
    return Pair(left or "", right or "", place)


def _choose_fields(texts: Mapping[Any, Any], source: str, target: str, *, reverse: bool) -> tuple[str, str]:
    """Return the names of the fields of source and target: the languages' codes if both are there."""
    if source in texts and target in texts:
        return source, target
    generic = ("target", "source") if reverse else ("source", "target")
    if all(field in texts for field in generic):
        return generic

    # Other spellings of the codes come last.
    names = tuple(key for key, text in texts.items() if isinstance(key, str) and _is_text(text))
    spelled = _find_spelled_fields(names, source, target)
    return generic if spelled is None else spelled


@functools.lru_cache(maxsize=64)  # the rows of a file have the same fields
def _find_spelled_fields(names: tuple[str, ...], source: str, target: str) -> tuple[str, str] | None:
    """Return the only fields that mean source and target, in any spelling, or None."""
    left, right = (list_spellings([code], [[name] for name in names]) for code in (source, target))
    if len(left) != 1 or len(right) != 1 or left == right:
        return None
    return names[left[0]], names[right[0]]


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _suggest_fields(texts: Mapping[Any, Any], source: str, target: str) -> str:
    """Return a hint that names the fields that may be in these languages."""
    names = [key for key, text in texts.items() if isinstance(key, str) and isinstance(text, str)]
    hints = []
    for code in (source, target):
        found = [names[index] for index in list_spellings([code], [[name] for name in names])]
        if len(found) > 1:
            hints.append(f"{' and '.join(map(repr, found))} may be meant by {code!r}")
    return f"; {'; '.join(hints)}: write the code as one of them" if hints else ""
