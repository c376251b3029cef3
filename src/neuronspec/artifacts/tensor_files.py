"""Plain safetensors files: the one place that opens and writes them.

Nothing is unpickled. A file that cannot be read is an error of the user's, with its path.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from neuronspec.errors import NeuronspecError, first_line

Framework = Literal["pt", "np"]

# Headers that lie make safetensors, and what it builds tensors with, raise any of these.
UNREADABLE = (SafetensorError, OSError, ValueError, RuntimeError, OverflowError, TypeError, KeyError)


def read_tensors(
    path: Path, framework: Framework = "pt", holds: str = "tensors", names: Collection[str] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a safetensors file.

    Args:
        path: File to read.
        framework: `pt` for torch tensors, `np` for numpy arrays (without an import of torch).
        holds: Expected content of the file, for messages.
        names: Names of the tensors to read; by default all of them.

    Returns:
        The tensors by name, and the metadata.

    Raises:
        NeuronspecError: If the file is missing or damaged.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - of a name that is too long, Path.is_file raises
        raise NeuronspecError(f"{path} does not exist: expected {holds}{_suggest_folder(path)}")

    try:
        with safe_open(path, framework=framework) as file:
            chosen = file.keys() if names is None else names
            tensors = {name: file.get_tensor(name) for name in chosen}
            return tensors, file.metadata() or {}
    except UNREADABLE as error:
        raise NeuronspecError(
            f"cannot read {path}: it is damaged or no safetensors file: {first_line(error)}; expected {holds}"
        ) from error


def _suggest_folder(path: Path) -> str:
    """Return a hint with a folder near a missing file that holds a file of its name, or an empty string."""
    # Within the folder that was given, as in that of a run, or next to it
    folder = path.parent
    near = [*folder.glob(f"*/{path.name}"), *folder.parent.glob(f"*/{path.name}")] if folder.is_dir() else []
    return f" (did you mean {near[0].parent}?)" if near else ""


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file in place; `neuronspec.files.publish` makes it appear whole.

    Args:
        path: File to write.
        tensors: Torch tensors, or numpy arrays, by name.
        metadata: Texts to keep with them.
    """
    facts = None if metadata is None else dict(metadata)
    # Found by attributes, without an import of torch; arrays of numpy have a device, too.
    if all(hasattr(tensor, "device") and hasattr(tensor, "requires_grad") for tensor in tensors.values()):
        from safetensors.torch import save_file

        save_file(dict(tensors), path, facts)
    else:
        from safetensors.numpy import save_file as save_arrays

        save_arrays(dict(tensors), path, facts)
