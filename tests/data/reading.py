"""What the tests of corpora share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neuronspec.data.corpora import read_pairs


def texts(path: Path | str, source: str, target: str, **options: Any) -> list[tuple[str, str]]:
    """Return the source and the target of every pair of a corpus."""
    return [(pair.source, pair.target) for pair in read_pairs(str(path), source, target, **options)]
