"""Notebooks as pages: the text and code of their cells, and the outputs that they were saved with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def render_notebook(path: Path) -> str:
    """Return a notebook as Markdown."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = [part for cell in cells for part in render_cell(cell)]
    first, *rest = parts
    note = f"*The notebook [{path.name}]({path.name}), with the outputs that it was saved with.*"
    return "\n\n".join([first, note, *rest]) + "\n"


def render_cell(cell: dict[str, Any]) -> list[str]:
    """Return the parts of a cell."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]

    shown = [text for output in cell["outputs"] for text in [render_output(output)] if text]
    return [f"```python\n{source}\n```", *shown]


def render_output(output: dict[str, Any]) -> str:
    """Return what a cell printed, returned or drew."""
    if output["output_type"] == "stream":
        return "" if output["name"] == "stderr" else block("".join(output["text"]))

    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    return block("".join(data.get("text/plain", "")))


def block(text: str) -> str:
    """Return text as a block without colors."""
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""
