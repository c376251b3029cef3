"""Searching for k: how few neurons each task can do with before the model, untrained, gets worse."""

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

SHARES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 1.0)


@dataclass(frozen=True)
class Curve:
    """What each k costs.

    Args:
        shares: the k that were tried, ascending; the last one is 1, with which every neuron is on.
        losses: the loss of the masked, untrained model with each.
        sparsities: the mean share of neurons that are off with each.
        tolerance: the share by which the loss may be above that of k = 1.
    """

    shares: tuple[float, ...]
    losses: tuple[float, ...]
    sparsities: tuple[float, ...]
    tolerance: float

    @property
    def chosen(self) -> float:
        """The smallest k from which on the loss stays within the tolerance.

        Example:
            >>> Curve((0.5, 0.9, 1.0), (3.0, 2.01, 2.0), (0.6, 0.2, 0.0), 0.01).chosen
            0.9
        """
        most = self.losses[-1] * (1 + self.tolerance)
        return next(share for n, share in enumerate(self.shares) if all(loss <= most for loss in self.losses[n:]))

    def as_dict(self) -> dict[str, object]:
        """Return the curve as JSON values."""
        points = [
            {"k": k, "loss": loss, "sparsity": sparsity}
            for k, loss, sparsity in zip(self.shares, self.losses, self.sparsities, strict=True)
        ]
        return {"chosen": self.chosen, "tolerance": self.tolerance, "curve": points}


def search_k(
    model: PreTrainedModel,
    counts: ActivationCounts,
    measure: Callable[[PreTrainedModel], float],
    tolerance: float = 0.01,
    choose: Callable[[ActivationCounts, float], NeuronMasks] = NeuronMasks.from_counts,
    shares: Sequence[float] = SHARES,
) -> Curve:
    """Measure the masked, untrained model with several k.

    Args:
        model: the model that the counts are of; not specialised afterwards.
        counts: its activation counts.
        measure: returns a loss of a specialised model, in which lower is better, on text of its tasks.
        tolerance: the share by which the loss may rise.
        choose: makes masks of counts and a k.
        shares: the k to try; 1 is always among them.

    Returns:
        The curve, with the k that it suggests.

    Raises:
        NeuronspecError: a loss is not positive and finite, so that a share of it means nothing.
    """
    tried = sorted({*shares, 1.0})
    losses, sparsities = [], []
    try:
        for share in tried:
            masks = choose(counts, share)
            losses.append(measure(specialize(model, masks)))
            sparsities.append(masks.mean_sparsity())
    finally:
        unspecialize(model)
    if not all(np.isfinite(loss) and loss > 0 for loss in losses):
        raise NeuronspecError(f"the losses with k = {tried} are {losses}: expected positive numbers")
    return Curve(tuple(tried), tuple(losses), tuple(sparsities), tolerance)
