"""The interactive report: one HTML file that shows what the neurons say, without a server or a network."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuronspec.errors import NeuronspecError
from neuronspec.files import write_text
from neuronspec.report.page_assets import join_scripts, join_sections, join_styles, read_frame
from neuronspec.report.page_parts import PARTS, REQUIRED
from neuronspec.report.page_values import escape_json, to_json_values

# What a page of ours says in its first bytes, before its style
GENERATOR = b'<meta name="generator" content="neuronspec">'
HEAD = 4096


def write_report(payload: Mapping[str, Any], path: Path) -> Path:
    """Write the report of an analysis as one HTML file that needs nothing else.

    Style, script and numbers are in the file; a content security policy keeps the browser from running any script
    but ours and from loading anything. Texts of the payload are only ever shown as text. Equal payloads give equal
    bytes.

    Args:
        payload: Content in plain JSON values; `page_parts.PARTS` describes its parts. A part that is absent or None
            is not shown, or `payload["missing"][part]` says in its place why.
        path: File to write.

    Returns:
        The path.

    Raises:
        NeuronspecError: If a required part is missing, a part is none that a page knows, or a value cannot be
            written as JSON.

    Example:
        >>> import tempfile
        >>> payload = {"title": "demo", "summary": [], "panels": {}, "layers": []}
        >>> write_report(payload, Path(tempfile.mkdtemp()) / "report.html").name
        'report.html'
    """
    # The page cannot start without these
    absent = [part for part in REQUIRED if part not in payload]
    if absent:
        raise NeuronspecError(f"found a report without {', '.join(absent)}; expected these parts in every report")

    # A part that no section reads would be lost without a word
    unknown = [part for part in payload if part not in PARTS]
    if unknown:
        raise NeuronspecError(f"found the part {unknown[0]!r} in a report; expected some of {', '.join(PARTS)}")

    write_text(path, build_page(payload))
    return path


def is_report(path: Path) -> bool:
    """Return whether a file is a page that `write_report` has written."""
    with path.open("rb") as file:
        return GENERATOR in file.read(HEAD)


def build_page(payload: Mapping[str, Any]) -> str:
    """Return the text of the page: the template with title, policy, style, numbers and script in their places.

    Example:
        >>> page = build_page({"title": "a < b", "summary": [], "panels": {}, "layers": []})
        >>> "<title>a &lt; b</title>" in page
        True
    """
    # The policy names style and script by their hashes: no other may run, wherever it comes from
    style, script = join_styles(), join_scripts()
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
        "sections": join_sections(),
        "payload": escape_json(to_json_values(payload)),
        "script": script,
    }
    # in one pass: what is filled in is not searched again
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], read_frame())


def _hash(text: str) -> str:
    """Return what a content security policy calls an inline script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _escape_title(title: str) -> str:
    """Return a title for HTML; what UTF-8 or HTML cannot hold becomes a replacement character."""
    return html.escape(re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", title))
