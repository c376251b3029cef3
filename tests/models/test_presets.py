from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from neuronspec.errors import NeuronspecError
from neuronspec.models.building import build_model, count_parameters
from neuronspec.models.presets import PRESETS, Preset

VOCABULARY = 128_035  # 128,000 pieces, the special tokens and the tags of EC30


@pytest.fixture(scope="module")
def large_tokenizer() -> PreTrainedTokenizerFast:
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    words = {word: number for number, word in enumerate([*special, *map(str, range(4, VOCABULARY))])}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<unk>")),
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def count_by_hand(preset: Preset, embeddings: int) -> int:
    width = preset.d_model
    norm = 2 * width
    attention = 4 * (width * width + width)
    ffn = (width * preset.d_ff + preset.d_ff) + (preset.d_ff * width + width)
    encoder = preset.layers * (attention + ffn + 2 * norm) + norm
    decoder = preset.layers * (2 * attention + ffn + 3 * norm) + norm
    return encoder + decoder + embeddings * VOCABULARY * width


@pytest.mark.parametrize(
    ("name", "millions", "exactly"),
    [("mT-big", 438.6, 438_577_152), ("mT-wide", 539.3, 539_289_600), ("mT-large", 614.9, 614_934_528)],
)
def test_has_the_size_that_the_paper_gives(
    large_tokenizer: PreTrainedTokenizerFast, name: str, millions: float, exactly: int
) -> None:
    with torch.device("meta"):
        size = count_parameters(build_model(name, large_tokenizer))
    assert size == exactly
    assert round(size / 1e6, 1) == millions


@pytest.mark.parametrize("name", PRESETS)
def test_counts_each_tied_matrix_once(large_tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    with torch.device("meta"):
        separate = build_model(name, large_tokenizer)
        shared = build_model(name, large_tokenizer, embeddings="shared")
    assert count_parameters(separate) == count_by_hand(PRESETS[name], embeddings=2)
    assert count_parameters(shared) == count_by_hand(PRESETS[name], embeddings=1)


def test_unknown_preset_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(NeuronspecError, match=r"unknown preset 'mt-big' \(did you mean 'mT-big'"):
        PRESETS["mt-big"]
