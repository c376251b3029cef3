"""Searching for k: how few neurons each task needs before the loss of the untrained masked model rises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.routing import unspecialize

K_GRID = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 1.0)
"""Values of k that are tried by default, in ever smaller steps up to 1, which keeps every neuron."""


@dataclass(frozen=True)
class KCurve:
    """Loss and sparsity of the masked model for each k.

    Args:
        ks: Values of k that were tried, ascending; with the last one, 1, every neuron is on.
        losses: Loss of the masked, untrained model with each k.
        sparsities: Mean share of neurons that are off with each k.
        tolerance: Share by which the loss may exceed the loss with k = 1.
    """

    ks: tuple[float, ...]
    losses: tuple[float, ...]
    sparsities: tuple[float, ...]
    tolerance: float

    @property
    def chosen(self) -> float:
        """Smallest k such that, for it and every larger k, the loss is within the tolerance.

        Example:
            >>> KCurve((0.5, 0.9, 1.0), (3.0, 2.01, 2.0), (0.6, 0.2, 0.0), 0.01).chosen
            0.9
        """
        # From k = 1 down, for as long as the loss stays within the tolerance
        highest = self.losses[-1] * (1 + self.tolerance)
        chosen = self.ks[-1]
        for k, loss in zip(reversed(self.ks), reversed(self.losses), strict=True):
            if loss > highest:
                break
            chosen = k
        return chosen

    def as_dict(self) -> dict[str, object]:
        """Return the curve as JSON values."""
        points = [
            {"k": k, "loss": loss, "sparsity": sparsity}
            for k, loss, sparsity in zip(self.ks, self.losses, self.sparsities, strict=True)
        ]
        return {"chosen": self.chosen, "tolerance": self.tolerance, "curve": points}


def search_k(
    model: PreTrainedModel,
    counts: ActivationCounts,
    measure: Callable[[PreTrainedModel], float],
    tolerance: float = 0.01,
    choose: Callable[[ActivationCounts, float], NeuronMasks] = NeuronMasks.from_counts,
    ks: Sequence[float] = K_GRID,
) -> KCurve:
    """Measure the masked, untrained model with several values of k.

    Args:
        model: Model whose activations were counted; not specialized afterwards.
        counts: Activation counts of the model.
        measure: Function that returns the loss of a specialized model on text of its tasks; lower is better.
        tolerance: Share by which the loss may rise.
        choose: Function that makes masks from counts and a k.
        ks: Values of k to try; 1 is always added.

    Returns:
        Curve with the chosen k.

    Raises:
        NeuronspecError: If a loss is not positive and finite, so that a share of it has no meaning.
    """
    # Always with k = 1, the loss with which the others are compared.
    tried = sorted({*ks, 1.0})
    losses, sparsities = [], []
    try:
        for k in tried:
            masks = choose(counts, k)
            # Each set of masks takes the place of the one before.
            losses.append(measure(specialize(model, masks)))
            sparsities.append(masks.mean_sparsity())
    finally:
        unspecialize(model)

    if not all(np.isfinite(loss) and loss > 0 for loss in losses):
        raise NeuronspecError(f"the losses with k = {tried} are {losses}: expected positive numbers")
    return KCurve(ks=tuple(tried), losses=tuple(losses), sparsities=tuple(sparsities), tolerance=tolerance)
