"""Masks of other tools: the paper's released weight masks and LAPE's lists of neurons, both in PyTorch files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from neuronspec.artifacts.torch_archives import check_tensor, read_torch_archive
from neuronspec.errors import NeuronspecError, first_line
from neuronspec.layer_names import place_of
from neuronspec.neurons.mask_values import read_booleans, stack_masks
from neuronspec.neurons.masks import NeuronMasks

# Names of parameters in fairseq; the digits are few enough for any real layer.
_RELEASED_NAME = re.compile(r"(?:.*\.)?(encoder|decoder)\.layers\.(\d{1,4})\.fc1\.weight")


def import_released_masks(files: Mapping[str, str | Path]) -> NeuronMasks:
    """Read the masks that the paper's released code writes: a boolean for every weight of each first FFN matrix.

    There, all weights of a neuron are masked alike, so that one entry of a row is enough. The bias was not masked; the
    signature records this (`bias: kept`), so that `specialize` does the same.

    Args:
        files: For each task, the `.pt` file of its direction.

    Returns:
        The masks, one bit a neuron.

    Raises:
        NeuronspecError: If a file is missing, too large, or holds something else.
    """
    masks = {task: _read_rows(Path(path)) for task, path in files.items()}
    return NeuronMasks(list(masks), stack_masks(masks), {"rule": "imported", "bias": "kept"})


def import_lape_neurons(path: str | Path, tasks: Sequence[str], widths: Mapping[str, int]) -> NeuronMasks:
    """Read the neurons that LAPE's code writes: for each language, for each layer, a list of indices.

    Args:
        path: Path of the file.
        tasks: Languages in the order of the file.
        widths: d_ff of every layer, in order: `{layer.name: layer.width for layer in find_ffn_layers(model)}`.

    Returns:
        The masks: on where LAPE found a neuron of the language.

    Raises:
        NeuronspecError: If the file is missing, too large, or does not have these languages and layers.
    """
    found = read_torch_archive(Path(path))
    if not isinstance(found, list) or len(found) != len(tasks):
        raise NeuronspecError(f"{path} should hold a list for each of the {len(tasks)} tasks")

    # Every neuron is off, but those in the lists.
    values = {layer: torch.zeros(len(tasks), width, dtype=torch.bool) for layer, width in widths.items()}
    for row, (task, layers) in enumerate(zip(tasks, found, strict=True)):
        if not isinstance(layers, list | tuple) or len(layers) != len(widths):
            raise NeuronspecError(f"{path}: {task} should have a list for each of the {len(widths)} layers")

        for (layer, width), indices in zip(widths.items(), layers, strict=True):
            neurons = _read_neurons(indices, width, f"{path}: {task}, {layer}")
            values[layer][row, neurons] = True
    return NeuronMasks(tasks, values, {"rule": "imported from LAPE"})


def _read_neurons(indices: Any, width: int, what: str) -> torch.Tensor:
    """Return (n,) indices of neurons of a layer from a tensor or a list of integers."""
    try:
        numbers = check_tensor(indices if isinstance(indices, torch.Tensor) else torch.tensor(indices), what)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise NeuronspecError(f"{what}: expected numbers of neurons: {first_line(error)}") from error

    # An empty list becomes a tensor of floats, and is fine.
    if numbers.numel() and (numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool):
        raise NeuronspecError(f"{what}: expected numbers of neurons, found {numbers.dtype}")

    numbers = numbers.flatten().long()
    if len(numbers) and (int(numbers.min()) < 0 or int(numbers.max()) >= width):
        raise NeuronspecError(f"{what}: a neuron's number is not in 0..{width - 1}")
    return numbers


def _read_rows(path: Path) -> dict[str, torch.Tensor]:
    """Return for each layer of a released file the (d_ff,) mask, encoder first."""
    found = read_torch_archive(path)
    if not isinstance(found, dict):
        raise NeuronspecError(f"{path} holds no mapping from weights to masks")

    rows: dict[str, torch.Tensor] = {}
    for name, mask in found.items():
        layer, on = _read_matrix(str(name), mask, f"{path}: {name!r}")
        if layer in rows:
            raise NeuronspecError(f"{path}: {name!r} is a second mask of the same layer")
        # All weights of a neuron, a row of the matrix, must be masked alike.
        if not torch.equal(on, on[:, :1].expand_as(on)):
            raise NeuronspecError(f"{path}: {name} masks single weights, not whole neurons")
        rows[layer] = on[:, 0]
    return {layer: rows[layer] for layer in sorted(rows, key=place_of)}


def _read_matrix(name: str, mask: Any, what: str) -> tuple[str, torch.Tensor]:
    """Return the layer of a mask, and the mask (d_ff, d_model) of its first matrix."""
    matched = _RELEASED_NAME.fullmatch(name)
    on = _read_mask(mask, what) if matched else None
    if matched is None or on is None or on.ndim != 2 or not on.numel():
        raise NeuronspecError(f"{what} is no mask of a first FFN matrix (encoder.layers.N.fc1.weight)")
    return f"{matched[1]}.{int(matched[2])}", on


def _read_mask(mask: Any, what: str) -> torch.Tensor:
    return read_booleans(check_tensor(mask, f"{what} is no mask of a first FFN matrix"), what)
