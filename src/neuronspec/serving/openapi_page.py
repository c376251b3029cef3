"""A plain page that lists all routes: without scripts, so that it needs no other place and no exception for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any


def write_openapi_page(schema: Mapping[str, Any]) -> str:
    """Return a page of HTML about an API.

    Args:
        schema: Description of the API in OpenAPI's form.
    """
    title, description = (escape(schema["info"].get(name, "")) for name in ("title", "description"))
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head><body>'
    body = "".join(_write_operations(schema))
    return (
        f"{head}<h1>{title} {escape(schema['info']['version'])}</h1><p>{description} "
        f'As a file: <a href="openapi.json">openapi.json</a></p>{body}</body></html>'
    )


def _write_operations(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parts of the page, one for each operation."""
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            yield f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
            yield f"<p>{escape(operation.get('description', ''))}</p>"
            yield "".join(_write_fields(operation, schema))
            statuses = ", ".join(map(escape, operation["responses"]))
            yield f"<p>Answers: {statuses}</p>"


def _write_fields(operation: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields of a body, with those of the objects in it."""
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        return
    yield f"<p>Body: {', '.join(map(escape, content))}</p><ul>"
    yield from _list_fields(next(iter(content.values()))["schema"], schema)
    yield "</ul>"


def _list_fields(form: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    form = _resolve(form, schema)
    required = form.get("required", ())
    for name, field in form.get("properties", {}).items():
        need = "" if name in required else " (optional)"
        yield f"<li><code>{escape(name)}</code>{need}: {escape(field.get('description', ''))}"
        inner = _resolve(field.get("items", {}), schema)
        if inner.get("properties"):
            yield "<ul>"
            yield from _list_fields(inner, schema)
            yield "</ul>"
        yield "</li>"


def _resolve(form: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a form, or the one that it refers to."""
    reference = form.get("$ref")
    if reference is None:
        return form
    found: Mapping[str, Any] = schema["components"]["schemas"][reference.rpartition("/")[2]]
    return found
