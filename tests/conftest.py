"""Fixtures of many tests: a tiny tokenizer, small random models of real architectures, and batches for them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from neuronspec.data.vocabulary import learn_vocabulary

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]

LANGUAGES = ("de", "en", "fr", "sv")
MODELS = {
    "m2m_100": (M2M100Config, M2M100ForConditionalGeneration),
    "mbart": (MBartConfig, MBartForConditionalGeneration),
    "bart": (BartConfig, BartForConditionalGeneration),
    "marian": (MarianConfig, MarianMTModel),
    "pegasus": (PegasusConfig, PegasusForConditionalGeneration),
    "t5": (T5Config, T5ForConditionalGeneration),
}
VOCABULARY = 48
SHAPE = {
    "vocab_size": VOCABULARY,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 64,
    "dropout": 0.0,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}
T5_SHAPE = {"d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0}


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer as `prepare` makes it, with the tags of German, English, French and Swedish."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 6))) for _ in range(50)]
    sentences = (" ".join(draw.choices(words, k=draw.randint(3, 9))) for _ in range(60))
    return learn_vocabulary(sentences, 120, LANGUAGES)


@pytest.fixture(params=["m2m_100", "mbart", "bart", "marian", "pegasus"])
def architecture(request: pytest.FixtureRequest) -> str:
    """Every registered kind of encoder-decoder, in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def small_model() -> SmallModel:
    """Builds a small model by the name of its architecture, in float64 and evaluation mode.

    All its weights are random, the biases too, so that a bias that is forgotten shows. The encoder's layers have 24
    neurons, the decoder's 40.
    """

    def build(architecture: str = "m2m_100", seed: int = 0) -> PreTrainedModel:
        config, kind = MODELS[architecture]
        model = kind(config(**SHAPE, **(T5_SHAPE if architecture == "t5" else {})))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in (*model.named_parameters(), *model.named_buffers()):
                if parameter.is_floating_point() and "embed_positions" not in name:  # sinusoids are not saved
                    parameter.normal_(0, 0.3, generator=generator)
        return model.to(torch.float64).eval()

    return build


@pytest.fixture(scope="session")
def small_batch() -> SmallBatch:
    """Builds a batch of random ids, padded on the right, from the (source, target) lengths of its rows."""

    def build(
        lengths: Sequence[tuple[int, int]] = ((5, 4), (3, 6), (6, 2), (1, 1)), seed: int = 0
    ) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        batch: dict[str, torch.Tensor] = {}
        for side, prefix in enumerate(("", "decoder_")):
            sizes = torch.tensor(lengths)[:, side, None]
            ids = torch.randint(4, VOCABULARY, (len(lengths), int(sizes.max())), generator=generator)
            mask = torch.arange(ids.shape[1]) < sizes
            batch |= {f"{prefix}input_ids": ids.where(mask, torch.tensor(1)), f"{prefix}attention_mask": mask.long()}
        return batch

    return build
