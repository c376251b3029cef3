"""Neuron masks: for every task and layer, which neurons are switched on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

import neuronspec
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.files import publish
from neuronspec.neurons.counts import ActivationCounts, read_tensors
from neuronspec.neurons.selection import select_neurons

MASKS_FILE = "neuron_masks.safetensors"
MAX_ENTRIES = 1 << 33  # a header that claims more neurons than this is not believed


class NeuronMasks:
    """The specialised neurons of a set of tasks: a boolean for every task, layer and neuron.

    Immutable. Make one with `from_counts`, `from_dict`, `random` or `from_pretrained`.

    Args:
        tasks: their names, in the order of the rows.
        values: for each layer, (tasks, d_ff) boolean.
        signature: how the masks came about, as strings.

    Example:
        >>> masks = NeuronMasks.from_dict({"de-en": {"encoder.0": [1, 1, 0, 0]}, "sv-en": {"encoder.0": [1, 0, 0, 1]}})
        >>> masks
        NeuronMasks(2 tasks x 1 layer, sparsity 50.0 %)
        >>> masks.iou("encoder.0").round(2).tolist()
        [[1.0, 0.33], [0.33, 1.0]]
    """

    def __init__(
        self,
        tasks: Sequence[str],
        values: Mapping[str, torch.Tensor],
        signature: Mapping[str, str] | None = None,
    ) -> None:
        self.tasks = tuple(tasks)
        self._values = {layer: mask.to("cpu", torch.bool).clone() for layer, mask in values.items()}
        self.signature = dict(signature or {})
        twice = {task for task in self.tasks if self.tasks.count(task) > 1}
        if twice or not self.tasks or not self._values:
            raise NeuronspecError(f"masks need tasks, once each, and layers; got tasks {list(self.tasks)}")
        for layer, mask in self._values.items():
            if mask.ndim != 2 or len(mask) != len(self.tasks):
                expected = f"({len(self.tasks)}, d_ff)"
                raise NeuronspecError(f"the mask of {layer} has the shape {tuple(mask.shape)}, expected {expected}")

    @classmethod
    def from_counts(
        cls,
        counts: ActivationCounts,
        k: float = 0.95,
        *,
        encoder_k: float | None = None,
        decoder_k: float | None = None,
    ) -> NeuronMasks:
        """Select the specialised neurons of every task from activation counts (Eq. 1).

        Args:
            counts: from `record_activations`.
            k: the share of the activation to cover.
            encoder_k: another k for the encoder's layers.
            decoder_k: another k for the decoder's layers.
        """
        ks = {
            "encoder": k if encoder_k is None else encoder_k,
            "decoder": k if decoder_k is None else decoder_k,
        }
        values = {
            layer: select_neurons(frequencies, ks[layer.partition(".")[0]])
            for layer, frequencies in counts.values.items()
        }
        signature = {"rule": "coverage", "unit": counts.unit, "ties": "lower index first"}
        signature |= {f"k.{stack}": str(value) for stack, value in ks.items()}
        return cls(counts.tasks, values, dict(counts.signature) | signature)

    @classmethod
    def from_dict(cls, masks: Mapping[str, Mapping[str, Any]]) -> NeuronMasks:
        """Make masks by hand.

        Args:
            masks: for each task, for each layer, (d_ff,) booleans: a tensor, an array or a list.

        Raises:
            NeuronspecError: the tasks do not have the same layers, or the masks not the same width.
        """
        first = next(iter(masks.values()), {})
        for task, layers in masks.items():
            if list(layers) != list(first):
                raise NeuronspecError(f"the masks of {task} have the layers {list(layers)}, others {list(first)}")
        try:
            values = {
                layer: torch.stack([torch.as_tensor(task[layer], dtype=torch.bool) for task in masks.values()])
                for layer in first
            }
        except RuntimeError as error:
            raise NeuronspecError(f"the masks of one layer must have the same width: {error}") from error
        return cls(list(masks), values, {"rule": "by hand"})

    @classmethod
    def random(cls, like: NeuronMasks, seed: int = 0) -> NeuronMasks:
        """Draw random masks of the same sizes as others: the control that says whether a selection means anything.

        Args:
            like: every task and layer gets as many neurons as here.
            seed: of the draw.
        """
        generator = np.random.default_rng(seed)
        values = {}
        for layer in like.layers:
            sizes = like.layer(layer).sum(1).numpy()
            ranks = generator.random(tuple(like.layer(layer).shape)).argsort(axis=1).argsort(axis=1)
            values[layer] = torch.from_numpy(ranks < sizes[:, None])
        return cls(
            like.tasks,
            values,
            like.signature | {"rule": "random, sizes as: " + like.signature.get("rule", "?"), "seed": str(seed)},
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers."""
        return tuple(self._values)

    @property
    def widths(self) -> dict[str, int]:
        """The number of neurons of each layer."""
        return {layer: mask.shape[1] for layer, mask in self._values.items()}

    def layer(self, name: str) -> torch.Tensor:
        """Return the (tasks, d_ff) boolean masks of one layer (do not write to it)."""
        if name not in self._values:
            raise NeuronspecError(f"no masks for the layer {name!r}; there are {', '.join(self.layers)}")
        return self._values[name]

    def task_index(self, task: str) -> int:
        """Return the row of a task.

        Raises:
            NeuronspecError: there is no such task; the known ones are named.
        """
        if task not in self.tasks:
            raise NeuronspecError(
                f"no masks for the task {task!r}{did_you_mean(task, self.tasks)}; known: {', '.join(self.tasks)}"
            )
        return self.tasks.index(task)

    def mask(self, task: str, layer: str) -> torch.Tensor:
        """Return the (d_ff,) boolean mask of one task in one layer."""
        return self.layer(layer)[self.task_index(task)]

    def compose(self, encoder: str, decoder: str, name: str | None = None) -> NeuronMasks:
        """Return masks for an unseen direction: one task's encoder with another task's decoder (paper, A.7).

        Args:
            encoder: the task whose encoder masks to take (`de-en` for the zero-shot direction de-fr).
            decoder: the task whose decoder masks to take (`en-fr`).
            name: the new task; by default the source of `encoder` and the target of `decoder`.
        """
        task = name or f"{encoder.rpartition('-')[0]}-{decoder.partition('-')[2]}"
        rows = {"encoder": self.task_index(encoder), "decoder": self.task_index(decoder)}
        values = {layer: mask[rows[layer.partition(".")[0]], None] for layer, mask in self._values.items()}
        return NeuronMasks([task], values, self.signature | {"composed": f"{encoder} + {decoder}"})

    def reorder(self, tasks: Sequence[str]) -> NeuronMasks:
        """Return the masks of these tasks, in this order.

        Raises:
            NeuronspecError: there are no masks for one of them.
        """
        rows = [self.task_index(task) for task in tasks]
        return NeuronMasks(tasks, {layer: mask[rows] for layer, mask in self._values.items()}, self.signature)

    def restrict(self, stack: str) -> NeuronMasks:
        """Return masks that leave every neuron of the other stack on (the paper's Ours-Enc and Ours-Dec).

        Args:
            stack: `encoder`, `decoder` or `both`.
        """
        if stack not in ("encoder", "decoder", "both"):
            raise NeuronspecError(f"stack must be encoder, decoder or both, not {stack!r}")
        values = {
            layer: mask if stack in ("both", layer.partition(".")[0]) else torch.ones_like(mask)
            for layer, mask in self._values.items()
        }
        return NeuronMasks(self.tasks, values, self.signature | {"stacks": stack})

    def iou(self, layer: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the (tasks, tasks) intersection over union of the masks of one layer (Eq. 2); 1 for two empty sets."""
        return pairwise_iou(self.layer(layer).numpy())

    def sparsity(self) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """Return for each layer the (tasks,) share of neurons that are switched off."""
        return {layer: 1 - mask.double().mean(1).numpy() for layer, mask in self._values.items()}

    def save_pretrained(self, directory: str | Path) -> Path:
        """Write `neuron_masks.safetensors` (one bit a neuron) into `directory` and return its path."""
        path = Path(directory) / MASKS_FILE
        packed = {layer: torch.from_numpy(np.packbits(mask.numpy(), axis=1)) for layer, mask in self._values.items()}
        header = {
            "tasks": list(self.tasks),
            "widths": self.widths,
            "signature": self.signature,
            "version": neuronspec.__version__,
        }
        with publish(path) as temporary:
            save_file(packed, temporary, {"neuronspec": json.dumps(header)})
        return path

    @classmethod
    def from_pretrained(cls, source: str | Path) -> NeuronMasks:
        """Read masks from a directory or a file.

        Raises:
            NeuronspecError: the file is missing, damaged, or not a mask file; nothing in it is executed (R7, R10).
        """
        path = Path(source)
        path = path / MASKS_FILE if path.is_dir() else path
        tensors, header = read_tensors(path, "neuron masks")
        try:
            tasks, widths, signature = header["tasks"], header["widths"], header["signature"]
            _check_header(tasks, widths, signature, tensors)
            values = {layer: _unpack(tensors[layer], len(tasks), width) for layer, width in widths.items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NeuronspecError(f"{path} is damaged: {error}") from error
        return cls(tasks, values, signature)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, NeuronMasks)
            and (self.tasks, self.layers) == (other.tasks, other.layers)
            and all(torch.equal(self.layer(layer), other.layer(layer)) for layer in self.layers)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        sparsity = 100 * float(np.mean([value.mean() for value in self.sparsity().values()]))
        counted = [
            f"{n} {word}{'s' * (n != 1)}" for n, word in ((len(self.tasks), "task"), (len(self.layers), "layer"))
        ]
        return f"NeuronMasks({' x '.join(counted)}, sparsity {sparsity:.1f} %)"


def pairwise_iou(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the intersection over union of every pair of masks (paper Eq. 2).

    Call it on the masks of one FFN layer, to see which tasks share neurons there. Two masks that are both
    empty are equal, so their IoU is 1.

    Args:
        masks: (tasks, d_ff) bool, True where the neuron is specialised for the task.

    Returns:
        (tasks, tasks) float64 in 0..1, symmetric, with ones on the diagonal.

    Raises:
        NeuronspecError: `masks` is not a two-dimensional boolean array.

    Example:
        >>> pairwise_iou(np.array([[True, True, False], [False, True, True]])).round(2).tolist()
        [[1.0, 0.33], [0.33, 1.0]]
    """
    if masks.ndim != 2 or masks.dtype != np.bool_:
        raise NeuronspecError(
            f"found masks of shape {masks.shape} and type {masks.dtype}, expected bool of shape "
            "(tasks, d_ff); stack the masks of one layer, one row a task"
        )
    rows = masks.astype(np.float64)
    shared = rows @ rows.T  # (tasks, tasks): counts below 2**53, so exact
    sizes = shared.diagonal()
    united = sizes[:, None] + sizes[None, :] - shared
    return np.divide(shared, united, out=np.ones_like(shared), where=united > 0)


def _check_header(tasks: Any, widths: Any, signature: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    if not (isinstance(tasks, list) and all(isinstance(task, str) for task in tasks)):
        raise ValueError("its tasks are not a list of names")
    if not (isinstance(widths, dict) and all(type(width) is int and width > 0 for width in widths.values())):
        raise ValueError("its widths are not positive whole numbers")
    if not isinstance(signature, dict):
        raise TypeError("its signature is not a mapping")
    if set(widths) != set(tensors):
        raise ValueError(f"its header names the layers {sorted(widths)}, its tensors are {sorted(tensors)}")
    if len(tasks) * sum(widths.values()) > MAX_ENTRIES:
        raise ValueError("its header claims more neurons than any model has")


def _unpack(packed: torch.Tensor, tasks: int, width: int) -> torch.Tensor:
    if packed.dtype != torch.uint8 or tuple(packed.shape) != (tasks, (width + 7) // 8):
        raise ValueError(f"a layer of {width} neurons has a tensor of {packed.dtype} and shape {tuple(packed.shape)}")
    return torch.from_numpy(np.unpackbits(packed.numpy(), axis=1, count=width).astype(bool))
