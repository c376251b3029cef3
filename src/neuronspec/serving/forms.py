"""Fields of a request in any of the forms in which clients of LibreTranslate send them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from neuronspec.serving.limits import ServingLimits
from neuronspec.serving.refusals import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request

Fields = dict[str, Any]

_BOUNDARY: Final = re.compile(r"boundary=(?:\"([^\"]{1,70})\"|([^\s;\"]{1,70}))", re.IGNORECASE)
_NAME: Final = re.compile(r"^content-disposition:[^\r\n]*?[;\s]name=\"?([^\"\r\n;]*)", re.IGNORECASE | re.MULTILINE)
_LONGEST_HEAD: Final = 1_000  # bytes of the headers of a part


async def read_fields(request: Request, limits: ServingLimits) -> Fields:
    """Return the fields of a request: those of JSON, of a form of either kind, or of the query.

    A field that comes several times in a form is a list.

    Args:
        request: Request.
        limits: Largest number of fields.

    Raises:
        RefusedError: If they cannot be read (400); the message quotes none of them.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()

    if kind == "application/json":
        return _read_json(body)

    query = request.scope["query_string"].decode("latin-1")
    pairs = _read_pairs(query, limits)
    if kind == "multipart/form-data":
        pairs += _read_parts(body, request.headers["content-type"])
    elif body:
        pairs += _read_pairs(_decode(body), limits)
    return _gather(pairs)


def _read_json(body: bytes) -> Fields:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "Invalid request: the body is not valid JSON") from None
    if not isinstance(value, dict):
        raise RefusedError(400, "Invalid request: the body is not an object of JSON")
    return value


def _read_pairs(text: str, limits: ServingLimits) -> list[tuple[str, str]]:
    """Return the names and values of an encoded form or query."""
    most = limits.sentences + 100
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=most, errors="strict")
    except ValueError:
        raise RefusedError(400, f"Invalid request: no form in UTF-8 with at most {most} fields") from None


def _read_parts(body: bytes, content_type: str) -> list[tuple[str, str]]:
    """Return the names and values of a form in parts, as browsers and `curl -F` send it."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise RefusedError(400, "Invalid request: the form names no boundary of its parts")
    line = b"--" + (boundary[1] or boundary[2]).encode("latin-1")

    # What comes before the first line with the boundary, and after the last one, belongs to no part.
    _, *parts = (b"\r\n" + body).split(b"\r\n" + line)
    if not parts or not parts[-1].startswith(b"--"):
        raise RefusedError(400, "Invalid request: the form has no parts, or no end")

    pairs = []
    for part in parts[:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = _NAME.search(head[:_LONGEST_HEAD].decode("utf-8", "replace"))
        if name is not None:
            pairs.append((name[1], _decode(value)))
    return pairs


def _decode(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedError(400, "Invalid request: the form is not in UTF-8") from None


def _gather(pairs: list[tuple[str, str]]) -> Fields:
    """Return the value of each name, or the list of its values."""
    fields: Fields = {}
    for name, value in pairs:
        if name not in fields:
            fields[name] = value
        elif isinstance(fields[name], list):
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
    return fields
