"""Sizes of models and exports: parameters, bytes, and whether the disk has room."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError


def count_parameters(model: PreTrainedModel) -> int:
    """Return the number of parameters; those that several modules share count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_bytes(model: PreTrainedModel) -> int:
    """Return the bytes of the parameters in memory; those that several modules share count once."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def measure_saved(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the bytes of a model's Hugging Face directory: of its weights and its tokenizer.

    Args:
        model: Model, which is not written.
        tokenizer: Tokenizer of the model.
    """
    weights = count_bytes(model)
    # Such a model is saved with a copy of each matrix that two of its modules share; see `save_model`.
    if getattr(model.config, "embeddings", None) == "separate":
        weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())

    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return weights + measure_directory(Path(folder))


def measure_directory(directory: Path) -> int:
    """Return the bytes of all files in a directory."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def check_disk(directory: Path, needed: int) -> None:
    """Refuse to write what does not fit on the disk, before the first byte.

    Args:
        directory: Directory to write into, which exists.
        needed: Number of bytes to be written.

    Raises:
        NeuronspecError: If the disk has less space.
    """
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise NeuronspecError(
            f"the export needs {needed / 1e6:,.1f} MB, and the disk of {directory.parent} has {free / 1e6:,.1f} MB "
            "left: free some space, or choose another place with --out"
        )
