"""Mask files: one bit a neuron."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from neuronspec.artifacts.container import Container
from neuronspec.artifacts.headers import Header, Names, Signature, Widths
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.terminal import escape
from neuronspec.version import __version__

MAX_NEURONS: Final = 1 << 33  # of all tasks together: 8 GiB as booleans; no header is trusted beyond that

MaskValues = Mapping[str, torch.Tensor]  # layer -> (tasks, d_ff) boolean


class MaskHeader(Header):
    """Header of a mask file."""

    tasks: Names
    """Names of the tasks, in the order of the rows."""
    widths: Widths
    """Number of neurons of each layer."""
    signature: Signature
    """How the masks came about."""
    version: str = "0"
    """Version of neuronspec that wrote the file."""


MASKS: Final = Container(file=MASKS_FILE, holds="neuron masks", header=MaskHeader, remedy="select the neurons again")


def write_masks(directory: Path, tasks: Sequence[str], values: MaskValues, signature: Mapping[str, str]) -> Path:
    """Write masks into a directory and return the path of the file.

    Args:
        directory: Directory of the file, created if it does not exist.
        tasks: Names of the tasks, in the order of the rows.
        values: For each layer, (tasks, d_ff) boolean.
        signature: Facts about how the masks came about.
    """
    # Bits do not show where a row ends in its last byte, hence the widths in the header.
    packed = {layer: torch.from_numpy(np.packbits(mask.numpy(), axis=1)) for layer, mask in values.items()}
    header = MaskHeader.model_construct(
        tasks=list(tasks),
        widths={layer: mask.shape[1] for layer, mask in values.items()},
        signature=dict(signature),
        version=__version__,
    )
    return MASKS.save(directory / MASKS_FILE, packed, header)


def read_masks(path: Path) -> tuple[list[str], dict[str, torch.Tensor], dict[str, str]]:
    """Return the tasks, the masks and the signature of a mask file.

    Args:
        path: Path of the file.

    Raises:
        NeuronspecError: If the file is missing, damaged, or no mask file.
    """
    packed, header = MASKS.load(path)

    if problem := _find_problem(packed, header):
        raise MASKS.damaged(path, problem)

    values = {layer: _unpack(packed[layer], width) for layer, width in header.widths.items()}
    return header.tasks, values, header.signature


def _find_problem(packed: Mapping[str, torch.Tensor], header: MaskHeader) -> str | None:
    """Return what is wrong with a mask file, before memory is used for what its header claims."""
    tasks, widths = len(header.tasks), header.widths

    if set(widths) != set(packed):
        return f"its header names the layers {_list_some(widths)}, its tensors are {_list_some(packed)}"
    if tasks * sum(widths.values()) > MAX_NEURONS:
        return "its header claims more neurons than any model has"

    # Eight neurons fill a byte; the last one may be partly empty.
    for layer, width in widths.items():
        bits = packed[layer]
        if bits.dtype != torch.uint8 or tuple(bits.shape) != (tasks, (width + 7) // 8):
            return f"a layer of {width} neurons has a tensor of {bits.dtype} and shape {tuple(bits.shape)}"
    return None


def _list_some(names: Iterable[str]) -> str:
    """Return the first names, shortened: those of tensors may be anything."""
    first = [escape(name)[:40] for name in sorted(names)[:4]]
    return ", ".join(first) or "none"


def _unpack(packed: torch.Tensor, width: int) -> torch.Tensor:
    """Return (tasks, d_ff) boolean of (tasks, ceil(d_ff / 8)) packed bits."""
    return torch.from_numpy(np.unpackbits(packed.numpy(), axis=1, count=width).astype(bool))
