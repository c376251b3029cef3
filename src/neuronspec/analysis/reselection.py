"""Selecting neurons again from other counts, as a set of masks was selected."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from neuronspec.analysis.sentence_states import Selector
from neuronspec.errors import NeuronspecError
from neuronspec.layer_names import stack_of
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.rules import RULES, is_by_row


def make_selector(signature: Mapping[str, str], layer: str) -> Selector:
    """Return the function that selected the masks with this signature in one layer, for other counts.

    Args:
        signature: Signature of the masks.
        layer: Name of the layer; every layer can have its own k.

    Returns:
        A function from (..., d_ff) int64 counts to (..., d_ff) booleans.

    Raises:
        NeuronspecError: If the masks were not selected for each task and layer by itself, from counts of sentences.

    Example:
        >>> select = make_selector({"rule": "coverage", "unit": "sentence", "k.encoder": "0.8"}, "encoder.0")
        >>> select(np.array([[5, 0, 3, 2]])).tolist()
        [[True, False, True, False]]
    """
    rule, unit = signature.get("rule", "by hand"), signature.get("unit", "sentence")

    # Rules that compare tasks with each other cannot select for one task alone
    by_row = [name for name, one in RULES.items() if is_by_row(one)]
    if rule not in by_row or unit != "sentence":
        raise NeuronspecError(
            f"masks of the rule {rule!r} and the unit {unit!r} cannot be resampled sentence by sentence: "
            f"select with {', '.join(by_row)}, from counts of sentences"
        )

    # Read once: the selector is called for every draw
    k = {layer: _read_k(signature, layer)}

    def select(values: NDArray[np.int64]) -> NDArray[np.bool_]:
        # Rules select from counts of tasks: each row is one
        rows = torch.from_numpy(np.ascontiguousarray(values).reshape(-1, values.shape[-1]))
        tasks = tuple(map(str, range(len(rows))))
        counts = ActivationCounts(tasks, {layer: rows}, totals={}, unit="sentence")
        selected: NDArray[np.bool_] = RULES[rule](counts, k)[layer].numpy()
        return selected.reshape(values.shape)

    return select


def _read_k(signature: Mapping[str, str], layer: str) -> float:
    """Return the k of a layer, after checking that its masks are still as they were selected."""
    # Signs of a selection that was put together or cut after it was made
    changed = [key for key in ("composed", "stacks") if key in signature]
    k = signature.get(f"k.{layer}", signature.get(f"k.{stack_of(layer)}"))
    if changed or k is None:
        raise NeuronspecError(
            f"the masks of {layer} are not as they were selected ({', '.join(changed) or 'no k'} in their signature) "
            "and cannot be resampled: give those that were selected from counts"
        )

    try:
        return float(k)
    except ValueError as error:
        raise NeuronspecError(f"the masks' signature gives {layer} the k {k!r}, which is no number") from error
