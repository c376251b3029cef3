"""Fixtures of many tests: a tiny tokenizer, small random models of real architectures, and batches for them."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import HealthCheck, settings
from tests.browser import browser as browser
from tests.kinds import mark_architectures, mark_processes, watch_processes
from tests.places import prefer_memory
from tests.two_processes import work as work

# torch and transformers are imported where they are used: the process that deals out the tests needs neither.
if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# Nothing here depends on speed: a busy machine is no reason to fail.
settings.register_profile("neuronspec", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("neuronspec")

prefer_memory()

SmallModel: TypeAlias = "Callable[..., PreTrainedModel]"
SmallBatch: TypeAlias = "Callable[..., dict[str, torch.Tensor]]"

LANGUAGES = ("de", "en", "fr", "sv")
VOCABULARY = 48
_TOKENS = {"vocab_size": VOCABULARY, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
_SEQ2SEQ = {
    **_TOKENS,
    **{"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2},
    **{"decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 40, "max_position_embeddings": 64},
    **{"dropout": 0.0, "decoder_start_token_id": 2, "forced_eos_token_id": None},
}
_T5 = {
    **_TOKENS,
    **{"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0},
    **{"decoder_start_token_id": 2, "max_position_embeddings": 64},
}
_CAUSAL = {
    **_TOKENS,
    **{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2},
    **{"num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64},
}
# What each architecture is built from: 24 neurons in the encoder's layers and 40 in the decoder's, where they may
# differ; 24 in every layer of the others, BLOOM's always 4 times its hidden size.
SHAPES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("m2m_100", "mbart", "bart", "marian", "pegasus", "blenderbot", "blenderbot-small"), _SEQ2SEQ),
    "fsmt": {**_SEQ2SEQ, "src_vocab_size": VOCABULARY, "tgt_vocab_size": VOCABULARY, "langs": ["de", "en"]},
    "nllb-moe": {
        **_SEQ2SEQ,
        **{"num_experts": 2, "encoder_sparse_step": 2, "decoder_sparse_step": 2, "expert_capacity": 1000},
    },
    "t5": {**_T5, "feed_forward_proj": "relu"},
    "mt5": {**_T5, "feed_forward_proj": "gated-gelu"},
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "gpt_neox"), _CAUSAL
    ),
    "opt": {**_CAUSAL, "ffn_dim": 24, "word_embed_proj_dim": 16, "dropout": 0.0},
    "xglm": {**_TOKENS, "d_model": 16, "ffn_dim": 24, "num_layers": 2, "attention_heads": 2, "dropout": 0.0},
    "bloom": {**_TOKENS, "hidden_size": 16, "n_layer": 2, "n_head": 2},
    "falcon": {**_TOKENS, "hidden_size": 16, "ffn_hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2},
    "gpt2": {**_TOKENS, "n_embd": 16, "n_inner": 24, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "gpt_neo": {
        **_TOKENS,
        **{"hidden_size": 16, "intermediate_size": 24, "num_layers": 2, "num_heads": 2},
        **{"attention_types": [[["global"], 2]], "max_position_embeddings": 64},
    },
}
_MOE = {
    **_CAUSAL,
    **{"moe_intermediate_size": 24, "num_experts": 3, "num_local_experts": 3, "num_experts_per_tok": 2},
}
# Experts in one parameter; two of them have a layer without experts, and an expert for every token.
STACKED: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("mixtral", "olmoe", "qwen3_moe"), _MOE),
    "qwen2_moe": {**_MOE, "mlp_only_layers": [0], "shared_expert_intermediate_size": 20},
    "glm4_moe": {
        **_MOE,
        **{"n_routed_experts": 3, "n_group": 1, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1},
    },
}
FLOAT32 = ("fsmt", "xglm")  # their attention masks overflow in float64
ENCODER_DECODERS = ("m2m_100", "mbart", "bart", "marian", "pegasus")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Spare the collector of garbage what stays until the end: modules, and ten thousand tests."""
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    return result


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that `make test-fast` leaves out."""
    mark_processes(items)
    mark_architectures(items, (*SHAPES, *STACKED))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let no test start a process unnoticed."""
    with watch_processes(item):
        return (yield)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer as `prepare` makes it, with the tags of German, English, French and Swedish."""
    from neuronspec.data.vocabulary import learn_vocabulary

    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 6))) for _ in range(50)]
    sentences = (" ".join(draw.choices(words, k=draw.randint(3, 9))) for _ in range(60))
    return learn_vocabulary(sentences, 120, LANGUAGES)


@pytest.fixture(params=ENCODER_DECODERS)
def architecture(request: pytest.FixtureRequest) -> str:
    """The encoder-decoders that are alike, in turn."""
    return str(request.param)


@pytest.fixture(params=SHAPES)
def any_architecture(request: pytest.FixtureRequest) -> str:
    """Every architecture that a model can be built of here, in turn."""
    return str(request.param)


@pytest.fixture(params=(*SHAPES, *STACKED))
def every_architecture(request: pytest.FixtureRequest) -> str:
    """Every architecture, those with experts in one parameter too, in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def small_model() -> SmallModel:
    """Builds a small model by the name of its architecture, in evaluation mode and float64 (but for `FLOAT32`).

    All its weights are random, the biases too, so that a bias that is forgotten shows. The encoder's layers have 24
    neurons, the decoder's 40.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    def build(architecture: str = "m2m_100", seed: int = 0, **changes: Any) -> PreTrainedModel:
        config = AutoConfig.for_model(architecture, **{**(SHAPES | STACKED)[architecture], **changes})
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        exactly = {"experts_implementation": "eager"} if architecture in STACKED else {}  # the others refuse float64
        model: PreTrainedModel = kind.from_config(config, **exactly)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in (*model.named_parameters(), *model.named_buffers()):
                if parameter.is_floating_point() and "embed_positions" not in name:  # sinusoids are not saved
                    parameter.normal_(0, 0.3, generator=generator)
        return model.to(torch.float32 if architecture in FLOAT32 else torch.float64).eval()

    return build


@pytest.fixture(scope="session")
def small_batch() -> SmallBatch:
    """Builds a batch of random ids, padded on the right, from the (source, target) lengths of its rows."""
    import torch

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
