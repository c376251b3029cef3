"""The place of an export: free, or taken by an earlier export that may be replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from neuronspec.errors import NeuronspecError

EXPORT_FILE: Final = "neuronspec_export.json"  # the facts of an export, by which it is recognized


def check_destination(out: Path, force: bool) -> None:
    """Refuse a place that is taken.

    Args:
        out: Directory of the export.
        force: Whether an earlier export may be replaced; nothing else ever is.

    Raises:
        NeuronspecError: If something is there.
    """
    if not out.exists() and not out.is_symlink():
        return

    if not force:
        raise NeuronspecError(f"{out} exists: choose another --out, or give --force to replace an earlier export")
    if not (out / EXPORT_FILE).is_file():
        raise NeuronspecError(f"{out} holds no export, and --force replaces nothing else: choose another --out")
