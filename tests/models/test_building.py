from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from neuronspec.errors import NeuronspecError
from neuronspec.models.building import build_model
from neuronspec.models.embeddings import Embeddings, tie_embeddings

BATCH = {"input_ids": torch.tensor([[4, 5, 2]]), "labels": torch.tensor([[6, 7, 2]])}


def step(model: PreTrainedModel) -> None:
    model(**BATCH).loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.5).step()


def test_decoder_input_and_output_are_one_matrix_and_the_encoder_has_its_own(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = build_model("tiny", tokenizer)
    encoder, decoder = model.model.encoder.embed_tokens.weight, model.model.decoder.embed_tokens.weight
    assert decoder is model.lm_head.weight
    assert encoder is not decoder
    assert not torch.equal(encoder, decoder)


def test_shared_embeddings_are_one_matrix(tokenizer: PreTrainedTokenizerFast) -> None:
    model = build_model("tiny", tokenizer, embeddings="shared")
    assert model.model.encoder.embed_tokens.weight is model.lm_head.weight
    assert model.model.decoder.embed_tokens.weight is model.lm_head.weight


@pytest.mark.parametrize("embeddings", ["separate", "shared"])
def test_training_keeps_the_tie(tokenizer: PreTrainedTokenizerFast, embeddings: Embeddings) -> None:
    model = build_model("tiny", tokenizer, embeddings=embeddings)
    before = model.lm_head.weight.detach().clone()
    step(model)
    assert not torch.equal(model.lm_head.weight, before)
    assert torch.equal(model.lm_head.weight, model.model.decoder.embed_tokens.weight)
    assert torch.equal(model.lm_head.weight, model.model.encoder.embed_tokens.weight) == (embeddings == "shared")


def test_takes_vocabulary_and_special_tokens_from_the_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    config = build_model("tiny", tokenizer).config
    assert config.vocab_size == len(tokenizer)
    assert (config.bos_token_id, config.pad_token_id, config.eos_token_id) == (0, 1, 2)
    assert config.decoder_start_token_id == tokenizer.eos_token_id


def test_options_reach_the_configuration(tokenizer: PreTrainedTokenizerFast) -> None:
    config = build_model("tiny", tokenizer, activation="gelu", dropout=0.3).config
    assert (config.activation_function, config.dropout, config.attention_dropout) == ("gelu", 0.3, 0.3)
    assert (config.activation_dropout, config.encoder_layerdrop, config.decoder_layerdrop) == (0.0, 0.0, 0.0)


def test_the_seed_alone_decides_the_weights(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build_model("tiny", tokenizer, seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = build_model("tiny", tokenizer, seed=7).state_dict(), build_model("tiny", tokenizer).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["model.shared.weight"], other["model.shared.weight"])


def test_models_of_others_are_not_tied_again(small_model: Callable[..., PreTrainedModel]) -> None:
    model = small_model()
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
    tie_embeddings(model)
    assert model.model.decoder.embed_tokens.weight is not model.lm_head.weight


def test_unknown_preset_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(NeuronspecError, match="unknown preset 'huge'"):
        build_model("huge", tokenizer)
