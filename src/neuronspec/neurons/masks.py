"""Neuron masks: for every task and layer, which neurons are switched on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuronspec.artifacts import hub
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.languages import match_direction, spell_pivot
from neuronspec.layer_names import STACKS, stack_of
from neuronspec.names import check_layers, check_names
from neuronspec.neurons.composition import compose_direction, list_unseen, name_composed
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.mask_card import make_mask_card
from neuronspec.neurons.mask_files import read_masks, write_masks
from neuronspec.neurons.mask_overlap import pairwise_iou
from neuronspec.neurons.mask_selection import apply_rule
from neuronspec.neurons.mask_values import read_booleans, stack_masks
from neuronspec.neurons.rules import draw_like

SPECIALIZATION = "_neuron_specialization"  # the attribute of a model that computes with masks


class NeuronMasks:
    """The specialized neurons of a set of tasks: a boolean for every task, layer and neuron.

    Immutable. Make one with `from_counts`, `from_dict`, `random` or `from_pretrained`.

    Args:
        tasks: Names of the tasks, in the order of the rows.
        values: For each layer, (tasks, d_ff) boolean.
        signature: Facts about how the masks came about, as strings.

    Raises:
        NeuronspecError: If there are no tasks or no layers, a task is given twice, or the shapes do not fit.

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
        # Copies, so that a later change of the given tensors does not reach the masks.
        self._values = {layer: read_booleans(mask, layer).cpu().clone() for layer, mask in values.items()}
        self.signature = dict(signature or {})

        # Tasks and layers first: the shapes are those of the tasks.
        if len(set(self.tasks)) < len(self.tasks) or not self.tasks or not self._values:
            raise NeuronspecError(f"masks need tasks, once each, and layers; got tasks {list(self.tasks)}")
        check_names(self.tasks)
        check_layers(self._values)
        for layer, mask in self._values.items():
            _check_shape(layer, mask, len(self.tasks))

    @classmethod
    def from_counts(
        cls,
        counts: ActivationCounts,
        k: float = 0.95,
        *,
        encoder_k: float | None = None,
        decoder_k: float | None = None,
        layer_k: Mapping[str, float] | None = None,
        rule: str = "coverage",
        **options: Any,
    ) -> NeuronMasks:
        """Select the specialized neurons of every task from activation counts (Eq. 1).

        Args:
            counts: Counts from `record_activations`.
            k: Share of the activation to cover; with `rule="top"`, share of the neurons to select.
            encoder_k: Another k for the layers of the encoder.
            decoder_k: Another k for the layers of the decoder.
            layer_k: Another k for single layers, `{"decoder.5": 0.8}`.
            rule: Name of a rule in `neuronspec.neurons.rules.RULES`: `coverage`, `top`, `random`, `lape`, `released`.
            options: Options of the rule: `seed` of random, `share` and `bar` of lape.

        Raises:
            NeuronspecError: If a rule, an option or a layer is unknown, or a share is outside 0..1.
        """
        selected, signature = apply_rule(
            counts,
            rule,
            stack_k={"encoder": encoder_k, "decoder": decoder_k},
            default_k=k,
            layer_k=layer_k or {},
            options=options,
        )
        return cls(counts.tasks, selected, signature)

    @classmethod
    def from_dict(cls, masks: Mapping[str, Mapping[str, Any]]) -> NeuronMasks:
        """Make masks by hand.

        Args:
            masks: For each task, for each layer, (d_ff,) booleans: a tensor, an array or a list.

        Raises:
            NeuronspecError: If the tasks do not have the same layers, or their masks differ in width.
        """
        return cls(list(masks), stack_masks(masks), {"rule": "by hand"})

    @classmethod
    def random(cls, like: NeuronMasks, seed: int = 0) -> NeuronMasks:
        """Draw random masks of the same sizes as others: the baseline that shows whether a selection means anything.

        Args:
            like: Masks whose number of neurons each task and layer gets.
            seed: Seed of the random draw.
        """
        rule = "random, sizes as: " + like.signature.get("rule", "?")
        return cls(like.tasks, draw_like(like._values, seed), like.signature | {"rule": rule, "seed": str(seed)})

    @classmethod
    def concatenate(cls, parts: Sequence[NeuronMasks]) -> NeuronMasks:
        """Return the masks of several sets of tasks as one set.

        Args:
            parts: Sets with the same layers and widths, and no task in common. The result has the signature of the
                first one.

        Raises:
            NeuronspecError: If the sets do not fit together.
        """
        if not parts:
            raise NeuronspecError("there are no masks to put together")

        # Masks of one model, which `specialize` would treat alike
        first = parts[0]
        for part in parts[1:]:
            _check_same_layers(first, part)
            if part.keeps_bias != first.keeps_bias:
                raise NeuronspecError("some of the masks keep the bias of a masked neuron and others do not")

        # Their rows, one set after the other
        tasks = [task for part in parts for task in part.tasks]
        values = {layer: torch.cat([part.layer(layer) for part in parts]) for layer in first.layers}
        return cls(tasks, values, first.signature)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(self._values)

    @property
    def widths(self) -> dict[str, int]:
        """Number of neurons of each layer."""
        return {layer: mask.shape[1] for layer, mask in self._values.items()}

    def layer(self, name: str) -> torch.Tensor:
        """Return the (tasks, d_ff) boolean masks of one layer (do not write to it).

        Args:
            name: Name of the layer.

        Raises:
            NeuronspecError: If there is no such layer.
        """
        if name not in self._values:
            raise NeuronspecError(f"no masks for the layer {name!r}; there are {', '.join(self.layers)}")
        return self._values[name]

    def task_index(self, task: str) -> int:
        """Return the row of a task.

        Args:
            task: Name of the task, in any spelling of its languages: `deu_Latn-eng_Latn` finds `de-en`.

        Raises:
            NeuronspecError: If there is no such task; the message names the known ones.
        """
        found = match_direction(task, self.tasks)
        if found is None:
            raise NeuronspecError(
                f"no masks for the task {task!r}{did_you_mean(task, self.tasks)}; known: {', '.join(self.tasks)}"
            )
        return self.tasks.index(found)

    def mask(self, task: str, layer: str) -> torch.Tensor:
        """Return the (d_ff,) boolean mask of one task in one layer.

        Args:
            task: Name of the task.
            layer: Name of the layer.

        Raises:
            NeuronspecError: If there is no such task or layer.
        """
        return self.layer(layer)[self.task_index(task)]

    def neurons(self, task: str, stack: str | None = None) -> dict[str, torch.Tensor]:
        """Return the numbers of a task's neurons, layer by layer, as `neuronspec.steer` takes them.

        Args:
            task: Name of the task.
            stack: Stack whose layers to take, `encoder` or `decoder`; by default all layers.

        Returns:
            For each layer, (n,) int64, ascending; layers without neurons of the task are left out.

        Raises:
            NeuronspecError: If there is no such task or stack.

        Example:
            >>> masks = NeuronMasks.from_dict({"de-en": {"encoder.0": [0, 1, 0, 1], "decoder.0": [0, 0, 0, 0]}})
            >>> masks.neurons("de-en")
            {'encoder.0': tensor([1, 3])}
        """
        if stack not in (None, *STACKS):
            raise NeuronspecError(f"stack must be encoder or decoder, not {stack!r}")

        row = self.task_index(task)
        numbers = {layer: mask[row].nonzero()[:, 0] for layer, mask in self._values.items()}
        return {layer: found for layer, found in numbers.items() if len(found) and stack in (None, stack_of(layer))}

    def compose(self, encoder: str, decoder: str, name: str | None = None) -> NeuronMasks:
        """Return masks for an unseen direction: one task's encoder with another task's decoder (paper, A.7).

        Args:
            encoder: Task whose encoder masks to take (`de-en` for the zero-shot direction de-fr).
            decoder: Task whose decoder masks to take (`en-fr`).
            name: Name of the new task; by default the source of `encoder` and the target of `decoder`.

        Raises:
            NeuronspecError: If there is no such task.
        """
        task = name or name_composed(encoder, decoder)

        # Each layer takes one row, (1, d_ff), from the task of its stack.
        rows = {"encoder": self.task_index(encoder), "decoder": self.task_index(decoder)}
        values = {layer: mask[rows[stack_of(layer)], None] for layer, mask in self._values.items()}
        return NeuronMasks([task], values, self.signature | {"composed": f"{encoder} + {decoder}"})

    def zero_shot(self, directions: Sequence[str] | None = None, pivot: str = "en") -> NeuronMasks:
        """Return masks for many unseen directions: for x-y, the encoder of x-pivot and the decoder of pivot-y.

        Args:
            directions: Directions `src-tgt`; by default every pair of languages with x-pivot and pivot-y.
            pivot: Language that the trained tasks have in common.

        Raises:
            NeuronspecError: If a task that is needed is missing.
        """
        pivot = spell_pivot(self.tasks, pivot)
        if directions is None:
            directions = list_unseen(self.tasks, pivot)

        # For each stack, the rows of the trained tasks whose masks to take
        sides = [compose_direction(direction, self.tasks, pivot) for direction in directions]
        rows = {
            "encoder": [self.task_index(encoder) for encoder, _ in sides],
            "decoder": [self.task_index(decoder) for _, decoder in sides],
        }
        values = {layer: mask[rows[stack_of(layer)]] for layer, mask in self._values.items()}
        return NeuronMasks(directions, values, self.signature | {"composed": f"x-{pivot} + {pivot}-y"})

    def union(self, other: NeuronMasks) -> NeuronMasks:
        """Return the neurons of either set, task by task.

        Args:
            other: Masks of the same tasks and layers.

        Raises:
            NeuronspecError: If tasks, layers or widths differ.
        """
        return self._combine(other, torch.logical_or, "union")

    def intersection(self, other: NeuronMasks) -> NeuronMasks:
        """Return the neurons of both sets, task by task.

        Args:
            other: Masks of the same tasks and layers.

        Raises:
            NeuronspecError: If tasks, layers or widths differ.
        """
        return self._combine(other, torch.logical_and, "intersection")

    def complement(self) -> NeuronMasks:
        """Return every neuron that is not selected."""
        return self._with({layer: ~mask for layer, mask in self._values.items()}, f"not {self._rule}")

    def reorder(self, tasks: Sequence[str]) -> NeuronMasks:
        """Return the masks of some tasks, in a given order.

        Args:
            tasks: Names of the tasks.

        Raises:
            NeuronspecError: If there are no masks for one of them.
        """
        rows = [self.task_index(task) for task in tasks]
        return NeuronMasks(tasks, {layer: mask[rows] for layer, mask in self._values.items()}, self.signature)

    def restrict(self, stack: str) -> NeuronMasks:
        """Return masks that leave every neuron of the other stack on (the paper's Ours-Enc and Ours-Dec).

        Args:
            stack: Stack that stays masked: `encoder`, `decoder` or `both`.

        Raises:
            NeuronspecError: If there is no such stack.
        """
        if stack not in (*STACKS, "both"):
            raise NeuronspecError(f"stack must be encoder, decoder or both, not {stack!r}")

        # A mask of ones leaves a layer as it was.
        values = {
            layer: mask if stack in ("both", stack_of(layer)) else torch.ones_like(mask)
            for layer, mask in self._values.items()
        }
        return NeuronMasks(self.tasks, values, self.signature | {"stacks": stack})

    def iou(self, layer: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the (tasks, tasks) intersection over union of the masks of one layer (Eq. 2); 1 for two empty sets.

        Args:
            layer: Name of the layer.
        """
        return pairwise_iou(self.layer(layer).numpy())

    def sparsity(self) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """Return for each layer the (tasks,) share of neurons that are switched off."""
        return {layer: 1 - mask.double().mean(1).numpy() for layer, mask in self._values.items()}

    def mean_sparsity(self, stack: str | None = None) -> float:
        """Return the share of neurons that are switched off, the mean over tasks and then over layers.

        Args:
            stack: Stack whose layers to take, `encoder` or `decoder`; by default all layers.
        """
        means = [off.mean() for layer, off in self.sparsity().items() if stack is None or stack_of(layer) == stack]
        return float(np.mean(means))

    def sparsity_by_layer(self) -> dict[str, float]:
        """Return for each layer the share of neurons that are switched off, the mean over tasks."""
        return {layer: float(off.mean()) for layer, off in self.sparsity().items()}

    def save_pretrained(self, directory: str | Path) -> Path:
        """Write `neuron_masks.safetensors` (one bit a neuron) into a directory and return its path.

        Args:
            directory: Directory of the file, created if it does not exist.
        """
        return write_masks(Path(directory), tasks=self.tasks, values=self._values, signature=self.signature)

    @classmethod
    def from_pretrained(cls, source: str | Path, revision: str | None = None) -> NeuronMasks:
        """Read masks from a directory, a file, or a repository of the Hugging Face hub.

        Args:
            source: Path of the directory or file; where there is none, `owner/name` on the hub.
            revision: Branch, tag or commit on the hub.

        Raises:
            NeuronspecError: If the file is missing, damaged, or no mask file; nothing in it is executed (R7, R10).
        """
        return cls(*read_masks(hub.fetch(source, MASKS_FILE, revision)))

    def push_to_hub(
        self, repository: str, *, private: bool | None = None, token: str | None = None, revision: str | None = None
    ) -> str:
        """Upload the masks to the Hugging Face hub, with a card that describes them, and return the address.

        Args:
            repository: `owner/name`; created if it does not exist. A card that is there already stays.
            private: Whether a new repository is private; by default as its owner's settings say.
            token: Token of the hub; by default that of the user who is logged in.
            revision: Branch to upload to.

        Raises:
            NeuronspecError: If the hub refuses or cannot be reached.
        """
        card = make_mask_card(repository, tasks=self.tasks, sparsity=self.sparsity(), signature=self.signature)
        return hub.upload(
            self.save_pretrained,
            repository,
            card=card,
            message="Upload neuron masks",
            private=private,
            token=token,
            revision=revision,
        )

    @property
    def keeps_bias(self) -> bool:
        """Whether a masked neuron keeps its bias, as in the released code (the signature's `bias: kept`)."""
        return self.signature.get("bias") == "kept"

    def keep_bias(self) -> NeuronMasks:
        """Return the same masks with a signature that keeps the bias of masked neurons, as in the released code."""
        return NeuronMasks(self.tasks, self._values, self.signature | {"bias": "kept"})

    @property
    def _rule(self) -> str:
        return self.signature.get("rule", "by hand")

    def _with(self, values: Mapping[str, torch.Tensor], rule: str) -> NeuronMasks:
        return NeuronMasks(self.tasks, values, self.signature | {"rule": rule})

    def _combine(self, other: NeuronMasks, operation: Callable[..., torch.Tensor], name: str) -> NeuronMasks:
        _check_same_layers(self, other)
        if set(self.tasks) != set(other.tasks):
            alone = ", ".join(sorted(set(self.tasks) ^ set(other.tasks)))
            raise NeuronspecError(f"the {name} of masks of different tasks: only one of them has {alone}")

        # The same tasks may come in another order.
        same = other.reorder(self.tasks)
        values = {layer: operation(mask, same.layer(layer)) for layer, mask in self._values.items()}
        return self._with(values, f"{name} of {self._rule} and {other._rule}")

    def __eq__(self, other: object) -> bool:
        # Two selections that found the same neurons are equal, whatever their signatures say.
        return (
            isinstance(other, NeuronMasks)
            and (self.tasks, self.layers) == (other.tasks, other.layers)
            and all(torch.equal(self.layer(layer), other.layer(layer)) for layer in self.layers)
        )

    # Equal masks would need equal hashes, which tensors do not have.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        tasks = f"{len(self.tasks)} task{'s' * (len(self.tasks) != 1)}"
        layers = f"{len(self.layers)} layer{'s' * (len(self.layers) != 1)}"
        return f"NeuronMasks({tasks} x {layers}, sparsity {100 * self.mean_sparsity():.1f} %)"


def _check_shape(layer: str, mask: torch.Tensor, tasks: int) -> None:
    if mask.ndim != 2 or len(mask) != tasks:
        raise NeuronspecError(f"the mask of {layer} has the shape {tuple(mask.shape)}, expected ({tasks}, d_ff)")


def _check_same_layers(first: NeuronMasks, second: NeuronMasks) -> None:
    if first.widths != second.widths:
        raise NeuronspecError(
            f"the masks are of different models: {_describe(first.widths)} and {_describe(second.widths)}"
        )


def _describe(widths: Mapping[str, int]) -> str:
    return ", ".join(f"{layer} of {width}" for layer, width in widths.items())
