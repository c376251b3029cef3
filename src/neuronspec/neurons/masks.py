"""Neuron masks: for every task and layer, which neurons are switched on."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuronspec.artifacts import hub
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.languages import match_direction, spell_pivot
from neuronspec.layer_names import STACKS, is_expert, stack_of
from neuronspec.names import check_layers, check_names
from neuronspec.neurons.composition import compose_direction, name_composed
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.mask_card import make_mask_card
from neuronspec.neurons.mask_files import read_masks, write_masks
from neuronspec.neurons.rules import RULES, check_options, draw_like

logger = logging.getLogger(__name__)
SPECIALIZATION = "_neuron_specialization"  # the attribute of a model that computes with masks


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
        self._values = {layer: read_booleans(mask, layer).cpu().clone() for layer, mask in values.items()}
        self.signature = dict(signature or {})
        twice = {task for task in self.tasks if self.tasks.count(task) > 1}
        if twice or not self.tasks or not self._values:
            raise NeuronspecError(f"masks need tasks, once each, and layers; got tasks {list(self.tasks)}")
        check_names(self.tasks)
        check_layers(self._values)
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
        layer_k: Mapping[str, float] | None = None,
        rule: str = "coverage",
        **options: Any,
    ) -> NeuronMasks:
        """Select the specialised neurons of every task from activation counts (Eq. 1).

        Args:
            counts: from `record_activations`.
            k: the share of the activation to cover; with `rule="top"`, of the neurons to select.
            encoder_k: another k for the encoder's layers.
            decoder_k: another k for the decoder's layers.
            layer_k: another k for single layers, `{"decoder.5": 0.8}`.
            rule: a name of `neuronspec.neurons.rules.RULES`: `coverage`, `top`, `random`, `lape`, `released`.
            options: the rule's own: `seed` of random, `share` and `bar` of lape.

        Raises:
            NeuronspecError: unknown rule, option or layer, or a share outside 0..1.
        """
        select = RULES[rule]
        known = tuple(inspect.signature(select).parameters)[1:]
        check_options(rule, options, tuple(name for name in known if name != "k"))
        signature = {"rule": rule, "unit": counts.unit, "ties": "lower index first"}
        if "k" in known:
            ks = {"encoder": k if encoder_k is None else encoder_k, "decoder": k if decoder_k is None else decoder_k}
            for layer in layer_k or {}:
                if layer not in counts.layers:
                    raise NeuronspecError(f"layer_k: no layer {layer!r}{did_you_mean(layer, counts.layers)}")
            by_layer = {layer: ks[stack_of(layer)] for layer in counts.layers} | dict(layer_k or {})
            stacks = {stack_of(layer) for layer in counts.layers}
            signature |= {f"k.{name}": str(share) for name, share in ks.items() if name in stacks}
            signature |= {f"k.{layer}": str(share) for layer, share in (layer_k or {}).items()}
            options = {"k": by_layer, **options}
        elif encoder_k is not None or decoder_k is not None or layer_k:
            raise NeuronspecError(f"the rule {rule!r} has no k: leave encoder_k, decoder_k and layer_k out")
        signature |= {name: str(value) for name, value in options.items() if name != "k"}
        counts.check()
        selected = select(counts, **options)
        _warn_of_silence(counts, selected)
        return cls(counts.tasks, selected, dict(counts.signature) | signature)

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
                layer: torch.stack([read_booleans(task[layer], layer) for task in masks.values()]) for layer in first
            }
        except (RuntimeError, ValueError, TypeError) as error:
            raise NeuronspecError(
                f"the masks of one layer must have the same width and be booleans: {error}"
            ) from error
        return cls(list(masks), values, {"rule": "by hand"})

    @classmethod
    def random(cls, like: NeuronMasks, seed: int = 0) -> NeuronMasks:
        """Draw random masks of the same sizes as others: the control that says whether a selection means anything.

        Args:
            like: every task and layer gets as many neurons as here.
            seed: of the draw.
        """
        return cls(
            like.tasks,
            draw_like(like._values, seed),
            like.signature | {"rule": "random, sizes as: " + like.signature.get("rule", "?"), "seed": str(seed)},
        )

    @classmethod
    def concatenate(cls, parts: Sequence[NeuronMasks]) -> NeuronMasks:
        """Return the masks of several sets of tasks as one set.

        Args:
            parts: with the same layers and widths, and no task in common; the signature is the first one's.

        Raises:
            NeuronspecError: they do not fit together.
        """
        if not parts:
            raise NeuronspecError("there are no masks to put together")
        first = parts[0]
        for part in parts[1:]:
            _check_same_layers(first, part)
            if part.keeps_bias != first.keeps_bias:
                raise NeuronspecError("some of the masks keep the bias of a masked neuron and others do not")
        values = {layer: torch.cat([part.layer(layer) for part in parts]) for layer in first.layers}
        return cls([task for part in parts for task in part.tasks], values, first.signature)

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
        """Return the row of a task: `deu_Latn-eng_Latn` finds `de-en`.

        Raises:
            NeuronspecError: there is no such task; the known ones are named.
        """
        found = match_direction(task, self.tasks)
        if found is None:
            raise NeuronspecError(
                f"no masks for the task {task!r}{did_you_mean(task, self.tasks)}; known: {', '.join(self.tasks)}"
            )
        return self.tasks.index(found)

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
        task = name or name_composed(encoder, decoder)
        rows = {"encoder": self.task_index(encoder), "decoder": self.task_index(decoder)}
        values = {layer: mask[rows[stack_of(layer)], None] for layer, mask in self._values.items()}
        return NeuronMasks([task], values, self.signature | {"composed": f"{encoder} + {decoder}"})

    def zero_shot(self, directions: Sequence[str] | None = None, pivot: str = "en") -> NeuronMasks:
        """Return masks for many unseen directions: of x-y the encoder of x-pivot, the decoder of pivot-y.

        Args:
            directions: `src-tgt`; by default every pair of languages that have x-pivot and pivot-y.
            pivot: the language that the trained tasks have in common.

        Raises:
            NeuronspecError: a task that is needed is not there.
        """
        pivot = spell_pivot(self.tasks, pivot)
        if directions is None:
            heard = [task.removesuffix(f"-{pivot}") for task in self.tasks if task.endswith(f"-{pivot}")]
            spoken = [task.removeprefix(f"{pivot}-") for task in self.tasks if task.startswith(f"{pivot}-")]
            directions = [f"{source}-{target}" for source in heard for target in spoken if source != target]
            if not directions:
                raise NeuronspecError(f"there is nothing to compose: no tasks x-{pivot} and {pivot}-y among the masks")
        sides = [compose_direction(direction, self.tasks, pivot) for direction in directions]
        rows = {
            "encoder": [self.task_index(encoder) for encoder, _ in sides],
            "decoder": [self.task_index(decoder) for _, decoder in sides],
        }
        values = {layer: mask[rows[stack_of(layer)]] for layer, mask in self._values.items()}
        return NeuronMasks(directions, values, self.signature | {"composed": f"x-{pivot} + {pivot}-y"})

    def union(self, other: NeuronMasks) -> NeuronMasks:
        """Return the neurons of either set, task by task."""
        return self._combine(other, torch.logical_or, "union")

    def intersection(self, other: NeuronMasks) -> NeuronMasks:
        """Return the neurons of both sets, task by task."""
        return self._combine(other, torch.logical_and, "intersection")

    def complement(self) -> NeuronMasks:
        """Return every neuron that is not selected."""
        return self._with({layer: ~mask for layer, mask in self._values.items()}, f"not {self._rule}")

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
        if stack not in (*STACKS, "both"):
            raise NeuronspecError(f"stack must be encoder, decoder or both, not {stack!r}")
        values = {
            layer: mask if stack in ("both", stack_of(layer)) else torch.ones_like(mask)
            for layer, mask in self._values.items()
        }
        return NeuronMasks(self.tasks, values, self.signature | {"stacks": stack})

    def iou(self, layer: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the (tasks, tasks) intersection over union of the masks of one layer (Eq. 2); 1 for two empty sets."""
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
        """Write `neuron_masks.safetensors` (one bit a neuron) into `directory` and return its path."""
        return write_masks(Path(directory), self.tasks, self._values, self.signature)

    @classmethod
    def from_pretrained(cls, source: str | Path, revision: str | None = None) -> NeuronMasks:
        """Read masks from a directory, a file, or a repository of the Hugging Face hub.

        Args:
            source: a path, or where there is none, `owner/name` on the hub.
            revision: a branch, tag or commit on the hub.

        Raises:
            NeuronspecError: the file is missing, damaged, or not a mask file; nothing in it is executed (R7, R10).
        """
        return cls(*read_masks(hub.fetch(source, MASKS_FILE, revision)))

    def push_to_hub(
        self, repository: str, *, private: bool | None = None, token: str | None = None, revision: str | None = None
    ) -> str:
        """Upload the masks to the Hugging Face hub with a card that says what they are, and return its address.

        Args:
            repository: `owner/name`; made where it does not exist. A card that is there already stays.
            private: whether a new repository is; the owner's default where not said.
            token: of the hub; the one that is logged in where not given.
            revision: the branch.

        Raises:
            NeuronspecError: the hub refuses or cannot be reached.
        """
        card = make_mask_card(repository, self.tasks, self.sparsity(), self.signature)
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
        """Return the same masks, under which a masked neuron keeps its bias, as in the released code."""
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
        same = other.reorder(self.tasks)
        values = {layer: operation(mask, same.layer(layer)) for layer, mask in self._values.items()}
        return self._with(values, f"{name} of {self._rule} and {other._rule}")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, NeuronMasks)
            and (self.tasks, self.layers) == (other.tasks, other.layers)
            and all(torch.equal(self.layer(layer), other.layer(layer)) for layer in self.layers)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        counted = [
            f"{n} {word}{'s' * (n != 1)}" for n, word in ((len(self.tasks), "task"), (len(self.layers), "layer"))
        ]
        return f"NeuronMasks({' x '.join(counted)}, sparsity {100 * self.mean_sparsity():.1f} %)"


def _check_same_layers(first: NeuronMasks, second: NeuronMasks) -> None:
    if first.widths != second.widths:
        raise NeuronspecError(
            f"the masks are of different models: {_describe(first.widths)} and {_describe(second.widths)}"
        )


def _describe(widths: Mapping[str, int]) -> str:
    return ", ".join(f"{layer} of {width}" for layer, width in widths.items())


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


def read_booleans(values: Any, what: str) -> torch.Tensor:
    """Return a mask as booleans: only what is one is taken for one, no fraction and no NaN.

    Args:
        values: A tensor, an array or a list of booleans, or of numbers that are 0 or 1.
        what: Its name in the message.

    Raises:
        NeuronspecError: Something else is in it.
    """
    mask = torch.as_tensor(values)
    if mask.dtype == torch.bool:
        return mask
    strange = (mask != 0) & (mask != 1)  # true for NaN
    if strange.any():
        raise NeuronspecError(f"the mask of {what} holds {mask[strange][0].item()}; expected booleans, or 0 and 1")
    return mask.bool()


def _warn_of_silence(counts: ActivationCounts, selected: Mapping[str, torch.Tensor]) -> None:
    """Say where a task has no neuron because none was ever active: its masks leave nothing of that layer."""
    silent = [
        (layer, counts.tasks[row])
        for layer, values in counts.values.items()
        if not is_expert(layer)  # no token was sent to it
        for row in ((values.sum(1) == 0) & ~selected[layer].any(1)).nonzero()[:, 0].tolist()
    ]
    if silent:
        layer, task = silent[0]
        logger.warning(
            "of %s, no neuron of %s was ever active, and none is selected (%d such layers and tasks in all): "
            "with these masks the layer adds nothing",
            task,
            layer,
            len(silent),
        )
