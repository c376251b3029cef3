"""Translating by direction: the same translations as sentence by sentence, in the shape that was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from tests.translation.test_beam_search import make_masks
from transformers import (
    MBartConfig,
    MBartForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from neuronspec.config.sections import Translation
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.errors import NeuronspecError
from neuronspec.specialization.masking import specialize
from neuronspec.translation.beam_search import translate_sentences
from neuronspec.translation.by_direction import translate

SENTENCES = {"de-en": ["der hund", "", "die maus"], "en-de": ["the dog"], "de-fr": [], "fr-de": ["le chien dort"]}
TEXT = [sentence for lines in SENTENCES.values() for sentence in lines]
TASKS = [task for task, lines in SENTENCES.items() for _ in lines]
SMALL: dict[str, Any] = {"beams": 3, "max_tokens": 6}


def make_model(tokenizer: PreTrainedTokenizerBase, seed: int = 2) -> PreTrainedModel:
    """Untrained, with large weights: what it says is gibberish, but depends on every word and tag."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    width = {"d_model": 24, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64}
    depth = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    tokens = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    return MBartForConditionalGeneration(
        MBartConfig(
            vocab_size=len(tokenizer), init_std=0.4, forced_eos_token_id=None, dropout=0.3, **width, **depth, **tokens
        )
    )


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return learn_vocabulary(iter([*filter(None, TEXT)] * 5), 60, ["de", "en", "fr"])


@pytest.fixture(params=["dense", "specialized"])
def model(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    made = make_model(tokenizer)
    return specialize(made, make_masks(made, list(SENTENCES))) if request.param == "specialized" else made


def test_directions_share_batches_and_keep_their_order(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    found = translate(model, tokenizer, SENTENCES, **SMALL)
    assert list(found) == list(SENTENCES)
    lines = [line for translations in found.values() for line in translations]
    expected = translate_sentences(model, tokenizer, TEXT, TASKS, Translation(**SMALL))
    assert lines == expected
    assert len(set(filter(None, lines))) > 2


def test_one_direction_can_be_given_as_a_list(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    found = translate(model, tokenizer, SENTENCES["de-en"], task="de-en", **SMALL)
    assert found == translate(model, tokenizer, SENTENCES, **SMALL)["de-en"]
    assert translate(model, tokenizer, {}) == {}


def test_a_specialized_model_uses_the_masks_of_each_direction(tokenizer: PreTrainedTokenizerFast) -> None:
    dense = make_model(tokenizer)
    without = translate(dense, tokenizer, SENTENCES, **SMALL)
    specialize(dense, make_masks(dense, list(SENTENCES)))
    assert translate(dense, tokenizer, SENTENCES, **SMALL) != without


@pytest.mark.parametrize("training", [True, False])
def test_the_model_keeps_its_mode(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, training: bool) -> None:
    model.train(training)
    translate(model, tokenizer, SENTENCES, **SMALL)
    assert model.training == training


def test_the_engines_agree_on_greedy_translations(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    pytest.importorskip("ctranslate2")
    greedy: dict[str, Any] = {"beams": 1, "max_tokens": 6}
    expected = translate(model, tokenizer, SENTENCES, **greedy)
    assert translate(model, tokenizer, SENTENCES, engine="ct2", **greedy) == expected


def test_words_in_front_of_the_source_reach_the_model() -> None:
    tokenizer = learn_vocabulary(iter(["translate de to en fr : a b c"] * 9), 40, [])
    model = make_model(tokenizer)
    prefix = "translate {src} to {tgt}: "
    found = translate(model, tokenizer, ["a b c"], task="de-en", source_prefix=prefix, **SMALL)
    expected = translate_sentences(model, tokenizer, ["a b c"], ["de-en"], Translation(**SMALL), source_prefix=prefix)
    assert found == expected


@pytest.mark.parametrize(
    ("sentences", "more", "message"),
    [
        ({"de-en": "abc"}, {}, "give the sentences of de-en as a list of texts, not 'abc'"),
        (["abc"], {}, "these sentences have no direction: give task='de-en'"),
        ({"de-en": ["abc"]}, {"task": "de-en"}, "directions of their own: leave out task='de-en'"),
        ({"de-en": ["abc"]}, {"beams": 0}, "cannot translate with beams=0: Input should be greater than or equal to 1"),
        ({"de-en": ["abc"]}, {"beam": 3}, "cannot translate with beam=3"),
        ({"de-en": ["abc"]}, {"engine": "fairseq"}, "engine='fairseq'"),
        ({"de-sv": ["abc"]}, {}, r"no tag for Swedish \(sv\)"),
    ],
)
def test_what_cannot_be_translated_is_refused(
    tokenizer: PreTrainedTokenizerFast, sentences: Any, more: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(NeuronspecError, match=message):
        translate(make_model(tokenizer), tokenizer, sentences, **more)
