"""The kind of what is checked: a configuration, a model, masks or counts, or files of text."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from neuronspec.config.loading import names_config
from neuronspec.neurons.filenames import COUNTS_FILE, MASKS_FILE

SourceKind = Literal["configuration", "model", "neurons", "text"]


def find_source_kind(source: str) -> SourceKind:
    """Return what a text names; what is not on this machine may be a model on the hub.

    Example:
        >>> find_source_kind("demo"), find_source_kind("facebook/m2m100_418M"), find_source_kind("news.{lang}")
        ('configuration', 'model', 'text')
    """
    if names_config(source):
        return "configuration"

    place = Path(source)
    if (place / "config.json").is_file():
        return "model"
    if place.suffix == ".safetensors" or any((place / name).is_file() for name in (MASKS_FILE, COUNTS_FILE)):
        return "neurons"
    return "text" if place.exists() or "{" in source else "model"
