"""Problems of a request's fields, in words that quote nothing of the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neuronspec.serving.native_api import Item, TranslationRequest

_KNOWN = {"body", *Item.model_fields, *TranslationRequest.model_fields}


def describe_problem(problems: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence about the first of some problems, as pydantic describes them.

    Args:
        problems: Problems with their kind (`type`), place (`loc`) and message (`msg`), of which there is at least one.

    Example:
        >>> describe_problem([{"loc": ("body", "items", 0, "task"), "msg": "Field required"}])
        'items[0].task: Field required'
        >>> describe_problem([{"loc": ("body", "items", 0, "Dear John"), "msg": "Extra inputs are not permitted"}])
        'items[0].?: Extra inputs are not permitted'
    """
    if problems[0].get("type") == "json_invalid":
        return "the body is not valid JSON"

    place = ""
    for step in problems[0]["loc"]:
        # A name that nobody expects may be anything, such as a text.
        if isinstance(step, int):
            place += f"[{step}]"
        elif step != "body":
            place += f".{step if step in _KNOWN else '?'}"
    place = place.removeprefix(".") or "body"
    return f"{place}: {problems[0]['msg']}"
