"""What tests of figures share: reading what a figure wrote, and that it writes the same twice."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree


def read_texts(svg: Path) -> list[str]:
    """Return the texts of a picture."""
    root = ElementTree.fromstring(svg.read_text(encoding="utf-8"))
    return ["".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")]


def read_title(svg: Path) -> str:
    """Return the title in the metadata of a picture, which does not stand in the picture."""
    root = ElementTree.fromstring(svg.read_text(encoding="utf-8"))
    return next((str(node.text) for node in root.iter("{http://purl.org/dc/elements/1.1/}title")), "")


def read_rows(table: Path) -> list[list[str]]:
    """Return the rows of the numbers beside a picture."""
    return list(csv.reader(table.read_text(encoding="utf-8").splitlines()))


def assert_same_bytes_twice(draw: Callable[[Path], list[Path]], folder: Path) -> list[Path]:
    """Draw twice, check that it gave the same four files, and return the first ones."""
    first, second = draw(folder / "a" / "decoder.0"), draw(folder / "b" / "decoder.0")
    assert [path.name for path in first] == ["decoder.0.svg", "decoder.0.png", "decoder.0.csv", "decoder.0.pdf"]
    assert sorted((folder / "a").iterdir()) == sorted(first)  # and nothing temporary
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    return first
