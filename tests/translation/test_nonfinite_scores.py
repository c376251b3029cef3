"""A model that puts out NaN translates nothing, in greedy decoding and beam search, specialized or not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from neuronspec.config.sections import Translation
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.translation.beam_search import translate_sentences
from neuronspec.translation.ct2_translator import CT2Translator


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_nothing_is_translated_with_weights_that_are_no_numbers(
    value: float,
    beams: int,
    masked: bool,
    small_model: Callable[..., PreTrainedModel],
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = small_model(vocab_size=len(tokenizer))
    options = Translation(beams=beams, max_tokens=4)
    assert len(translate_sentences(model, tokenizer, ["abc"], ["de-en"], options)) == 1
    layer = find_ffn_layers(model)[0]
    with torch.no_grad():
        layer.projection.weight[0, 0] = value
    if masked:
        on = {one.name: [1] * one.width for one in find_ffn_layers(model)}
        specialize(model, NeuronMasks.from_dict({"de-en": on}))
    with pytest.raises(NeuronspecError, match="cannot translate: the model's scores are not numbers"):
        translate_sentences(model, tokenizer, ["abc"], ["de-en"], options)


@pytest.mark.parametrize("beams", [1, 3])
def test_nothing_is_translated_with_ctranslate2_either(
    beams: int, small_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    pytest.importorskip("ctranslate2")
    model = small_model(vocab_size=len(tokenizer))
    with torch.no_grad():
        find_ffn_layers(model)[0].projection.weight.fill_(3e38)  # finite, but what is computed overflows
    with (
        CT2Translator(model, tokenizer, device="cpu") as engine,
        pytest.raises(NeuronspecError, match="cannot translate: the model's scores are not numbers"),
    ):
        engine(["abc"], ["de-en"], Translation(beams=beams, max_tokens=4))
