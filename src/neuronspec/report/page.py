"""The interactive report: one HTML file that shows what the neurons say, without a server or a network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from neuronspec.comparison.tables import Table
from neuronspec.errors import NeuronspecError
from neuronspec.files import write_text

SCRIPTS = ("report_plots.js", "report_cards.js", "report.js")  # as one script; the last one starts
STEPS = 65535  # of a packed value: IoU is kept to 1.5e-5


def write_report(payload: Mapping[str, Any], path: Path) -> Path:
    """Write the report of an analysis as one HTML file that needs nothing else.

    Style, script and numbers are in the file; a content security policy keeps the browser from running any script
    but ours and from loading anything. Texts of the payload are only ever shown as text. Equal payloads give equal
    bytes.

    Args:
        payload: what is known, in plain JSON values; a part that is absent or None is not shown, or
            `payload["missing"][part]` says in its place why (below the heat map for any name that is no section's).
            Always there:
            `title`, `summary` ([{"kind": "finding" | "caveat", "text"}]),
            `panels` (stack -> {"title", "tasks", "labels", "names", "families", "scripts"}),
            `layers` ([{"name", "stack", "width"}]).
            Overlaps: `ks` and the chosen `k` as texts, `iou` (layer -> k -> `pack`), for the chosen k `low`, `high`
            (layer -> `pack`), `z_chance`, `z_shuffled` (layer -> `pack_floats`): the pairs above the diagonal,
            row by row.
            Layers: `sparsity` (layer -> {"tasks", "values"}), `trees` (layer -> {"order", "merges", "newick",
            "cophenetic"}), `progression` (layer -> {"mean", "median", "q1", "q3", "low", "high"}; low and high are
            the ends of Tukey's whiskers).
            Others: `tables` (name -> tables: each a `Table`, or the rows that `Table.to_json` returns),
            `ablation` (stack -> {"texts", "switched", "changes" (texts x switched), "metric", "note"}), `cards`
            ({"sentences", "languages", "neurons"}), `figures` ([{"title", "alt", "svg"}]), `signature`, `methods`,
            `citation`, `subtitle`, `version`.
        path: the file to write.

    Returns:
        The path.

    Raises:
        NeuronspecError: a part that is always there is missing, or a value cannot be written as JSON.

    Example:
        >>> import tempfile
        >>> payload = {"title": "demo", "summary": [], "panels": {}, "layers": []}
        >>> write_report(payload, Path(tempfile.mkdtemp()) / "report.html").name
        'report.html'
    """
    absent = [part for part in ("title", "summary", "panels", "layers") if part not in payload]
    if absent:
        raise NeuronspecError(f"found a report without {', '.join(absent)}; expected these parts in every report")
    write_text(path, build_page(payload))
    return path


def build_page(payload: Mapping[str, Any]) -> str:
    """Return the text of the page: the template with title, policy, style, numbers and script in their places.

    Example:
        >>> page = build_page({"title": "a < b", "summary": [], "panels": {}, "layers": []})
        >>> "<title>a &lt; b</title>" in page
        True
    """
    style, script = _read("report.css"), "\n".join(_read(name) for name in SCRIPTS)
    parts = {
        "title": _escape_title(str(payload["title"])),
        "policy": "; ".join(
            [
                "default-src 'none'",
                f"script-src '{_hash(script)}'",
                f"style-src '{_hash(style)}'",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
            ]
        ),
        "style": style,
        "payload": escape_json(simplify(payload)),
        "script": script,
    }
    # in one pass: what is filled in is not searched again
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read("report.html"))


def pack(values: ArrayLike) -> str:
    """Return numbers in 0..1 as text: base64 of little-endian 16-bit steps of 1/65535.

    Args:
        values: (n,) such as the IoU of every pair.

    Raises:
        NeuronspecError: a value is outside 0..1 or no number.

    Example:
        >>> pack([0, 1])
        'AAD//w=='
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not np.all((numbers >= 0) & (numbers <= 1)):  # nan fails too
        raise NeuronspecError(f"found values {numbers.min()} to {numbers.max()} to pack, expected 0..1")
    return base64.b64encode(np.rint(numbers * STEPS).astype("<u2").tobytes()).decode("ascii")


def unpack(text: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the numbers that `pack` made into text, to within half a step.

    Example:
        >>> unpack(pack([0.25])).round(4).tolist()
        [0.25]
    """
    return np.frombuffer(base64.b64decode(text), dtype="<u2") / STEPS


def pack_floats(values: ArrayLike) -> str:
    """Return any numbers as text: base64 of little-endian 32-bit floats; nan for what is unknown.

    Example:
        >>> pack_floats([1.5])
        'AADAPw=='
    """
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode("ascii")


def escape_json(value: Any) -> str:
    """Return a value as JSON that can stand in an HTML script element, whatever its texts hold.

    Example:
        >>> print(escape_json({"name": "</script>"}))
        {"name":"\\u003c/script\\u003e"}
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII: U+2028 and surrogates, too
    except (TypeError, ValueError) as error:
        raise NeuronspecError(f"a part of the report cannot be written as JSON: {error}") from error
    return text.translate({ord(character): f"\\u{ord(character):04x}" for character in "<>&"})


def simplify(value: Any) -> Any:
    """Return a value with plain JSON types: numpy's and tuples as lists, numbers that are none as None."""
    if isinstance(value, Table):
        rows = [[_describe_cell(cell) for cell in row] for _, block in value.blocks for row in block]
        sections = [section for section, block in value.blocks for _ in block] if value.sections else []
        return simplify(
            {"title": value.title, "header": value.titles, "rows": rows, "notes": value.notes, "sections": sections}
        )
    if isinstance(value, Mapping):
        return {str(key): simplify(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [simplify(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return simplify(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _describe_cell(cell: Any) -> dict[str, Any]:
    return {"value": cell.content, "text": str(cell), "bold": cell.bold}


def _read(name: str) -> str:
    return (resources.files("neuronspec.report") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return what a content security policy calls an inline script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _escape_title(title: str) -> str:
    """Return a title for HTML; what UTF-8 or HTML cannot hold becomes a replacement character."""
    return html.escape(re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", title))
