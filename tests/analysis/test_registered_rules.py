"""A rule that is registered elsewhere is resampled, or refused, by what the rule itself says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neuronspec.analysis.reselection import make_selector
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.rules import RULES, Selection, Shares, by_row


def frequent(counts: ActivationCounts, k: Shares) -> Selection:
    """Select the neurons that are active at least k times."""
    return {layer: values >= k[layer] for layer, values in counts.values.items()}


@pytest.mark.parametrize("marked", [True, False])
def test_a_registered_rule_says_whether_it_can_be_resampled(marked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        RULES._entries, "frequent", by_row(frequent) if marked else lambda counts, k: frequent(counts, k)
    )
    values = torch.tensor([[1, 0, 3], [2, 2, 0]])
    counts = ActivationCounts(("a-b", "c-d"), {"encoder.0": values}, {"encoder": torch.tensor([3, 3])}, "sentence")
    masks = NeuronMasks.from_counts(counts, k=1, rule="frequent")
    assert masks.layer("encoder.0").tolist() == [[True, False, True], [True, True, False]]
    if marked:
        select = make_selector(masks.signature, "encoder.0")
        assert select(np.array([[0, 1, 2]])).tolist() == [[False, True, True]]
    else:
        with pytest.raises(NeuronspecError, match="select with coverage, top, released, from counts of sentences"):
            make_selector(masks.signature, "encoder.0")
