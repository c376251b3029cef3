"""Entries of the page for static figures: what each shows, and the paths of its files, as seen from the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neuronspec.names import child

FORMATS = {"SVG": ".svg", "PDF": ".pdf", "PNG": ".png", "CSV": ".csv"}
"""Names of the formats that a figure has -> the ends of its files."""


def list_figures(drawn: Mapping[str, str], folder: str) -> list[dict[str, Any]]:
    """Return an entry for each figure, with the paths of its files.

    Args:
        drawn: File name without a suffix -> title of the figure.
        folder: Path of the figures' folder, seen from the page.

    Example:
        >>> list_figures({"sparsity": "Sparsity over layers"}, "figures")[0]["files"]["PDF"]
        'figures/sparsity.pdf'
    """
    entries = []
    for name, title in drawn.items():
        files = {format: f"{folder}/{name}{end}" for format, end in FORMATS.items()}
        entries.append({"title": title, "alt": title, "files": files})
    return entries


def show_figures(drawn: Mapping[str, str], folder: str, directory: Path) -> list[dict[str, Any]]:
    """Return the entries of `list_figures` with the pictures themselves, for a page that works as a single file.

    Args:
        drawn: File name without a suffix -> title of the figure.
        folder: Path of the figures' folder, seen from the page.
        directory: The same folder, seen from here.
    """
    entries = list_figures(drawn, folder)
    for entry, name in zip(entries, drawn, strict=True):
        entry["svg"] = child(directory, name, ".svg").read_text(encoding="utf-8")
    return entries


def move_figures(entries: Iterable[Mapping[str, Any]], prefix: str) -> list[dict[str, Any]]:
    """Return entries of a page in another folder.

    Args:
        entries: Entries whose paths start at one folder.
        prefix: Path of that folder, seen from the other page.

    Example:
        >>> move_figures(list_figures({"tree.decoder.0": "Tree"}, "figures"), "../analyze")[0]["files"]["SVG"]
        '../analyze/figures/tree.decoder.0.svg'
    """
    moved = []
    for entry in entries:
        files = {format: f"{prefix}/{place}" for format, place in entry["files"].items()}
        moved.append({**entry, "files": files})
    return moved
