"""The harm to translations; that to the loss is tested with the ablation that it is made for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from neuronspec.analysis.ablation_metrics import measuring_chrf
from neuronspec.config.sections import Translation
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.scoring import score
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.routing import find_router, unspecialize
from neuronspec.translation.beam_search import translate_sentences

SMALL = Translation(beams=2, max_tokens=8)
TASKS = ("de-en", "sv-en")
SOURCES = ["abc de fgh", "ponm lk", "a b c d e f", "ghij klm"]


@pytest.fixture
def model(small_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    return small_model("m2m_100", vocab_size=len(tokenizer), tie_word_embeddings=False)


@pytest.fixture
def off(model: PreTrainedModel) -> NeuronMasks:
    generator = torch.Generator().manual_seed(0)
    widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
    names = [f"without {task}" for task in TASKS]
    return NeuronMasks(names, {one: torch.rand(2, width, generator=generator) < 0.5 for one, width in widths.items()})


def make_texts(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> dict[str, tuple[list[str], list[str]]]:
    """The references are what the model itself says."""
    return {
        task: (SOURCES, translate_sentences(model, tokenizer, SOURCES, [task] * len(SOURCES), SMALL)) for task in TASKS
    }


def test_without_masks_it_is_the_plain_model(
    model: PreTrainedModel, off: NeuronMasks, tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = make_texts(model, tokenizer)
    with measuring_chrf(model, off, tokenizer, texts, SMALL) as measure:
        assert [measure(task, None) for task in TASKS] == [pytest.approx(100)] * 2


def test_with_masks_it_is_the_specialised_model(
    model: PreTrainedModel, off: NeuronMasks, tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = make_texts(model, tokenizer)
    expected = {}
    for text in TASKS:
        for without in off.tasks:
            values = {layer: off.mask(without, layer)[None] for layer in off.layers}
            specialize(model, NeuronMasks([text], values))
            lines = translate_sentences(model, tokenizer, SOURCES, [text] * len(SOURCES), SMALL)
            unspecialize(model)
            expected[text, without] = score(lines, texts[text][1], "en", ["chrf"])[0].value
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with measuring_chrf(model, off, tokenizer, texts, SMALL) as measure:
        found = {pair: measure(*pair) for pair in expected}
        assert measure("de-en", None) == pytest.approx(100)  # masks do not stay
    assert found == pytest.approx(expected)
    assert max(found.values()) < 100
    assert len(set(found.values())) > 1
    assert find_router(model) is None
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_the_model_is_as_it_was_after_an_error_too(
    model: PreTrainedModel, off: NeuronMasks, tokenizer: PreTrainedTokenizerFast
) -> None:
    model.train()
    with measuring_chrf(model, off, tokenizer, {"de-en": (SOURCES, SOURCES)}, SMALL) as measure:
        assert not model.training
        with pytest.raises(NeuronspecError, match=r"no text of the task 'de-e' \(did you mean 'de-en'"):
            measure("de-e", None)
        with pytest.raises(NeuronspecError, match="no masks for the task"):
            measure("de-en", "without ja-en")
        assert find_router(model) is None
    assert model.training


def test_a_specialised_model_is_refused(
    model: PreTrainedModel, off: NeuronMasks, tokenizer: PreTrainedTokenizerFast
) -> None:
    specialize(model, off)
    with (
        pytest.raises(NeuronspecError, match="already specialized"),
        measuring_chrf(model, off, tokenizer, {}, SMALL),
    ):
        pass
