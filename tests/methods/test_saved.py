from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from neuronspec.errors import NeuronspecError
from neuronspec.methods.saved import attach_saved
from neuronspec.models.building import build_model
from neuronspec.models.loading import load_model, save_model
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import attach_masks, get_masks
from neuronspec.specialization.routing import find_router

TASKS = ["en-de", "de-en", "en-fr", "fr-en"]


@pytest.fixture
def masks() -> NeuronMasks:
    generator = torch.Generator().manual_seed(0)
    layers = [f"{stack}.{number}" for stack in ("encoder", "decoder") for number in (0, 1)]
    return NeuronMasks(TASKS, {layer: torch.rand(4, 512, generator=generator) < 0.5 for layer in layers})


def test_what_lies_beside_a_model_is_put_in_place(
    tokenizer: PreTrainedTokenizerFast, masks: NeuronMasks, tmp_path: Path
) -> None:
    save_model(build_model("tiny", tokenizer), tmp_path, tokenizer)
    model = load_model(tmp_path)
    assert not attach_saved(model, tmp_path)
    assert find_router(model) is None
    masks.save_pretrained(tmp_path)
    assert attach_saved(model, tmp_path)
    assert get_masks(model) == masks
    assert attach_saved(model, tmp_path, ["de-fr", "en-de"])
    found = get_masks(model)
    assert found is not None
    assert found.tasks == (*TASKS, "de-fr")
    composed = masks.compose(encoder="de-en", decoder="en-fr")
    assert all(torch.equal(found.layer(layer)[4], composed.layer(layer)[0]) for layer in masks.layers)


def test_directions_that_nothing_can_be_composed_of_are_refused(
    tokenizer: PreTrainedTokenizerFast, masks: NeuronMasks
) -> None:
    model = build_model("tiny", tokenizer)
    for unseen, found in (("en-sv", "no masks for the task 'en-sv'"), ("de-sv", "no masks for the task 'en-sv'")):
        with pytest.raises(NeuronspecError, match=found):
            attach_masks(model, masks, [unseen])
    assert find_router(model) is None
