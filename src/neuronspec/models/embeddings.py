"""Embeddings of a model: how its matrices are tied, and how many tokens they are for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError
from neuronspec.models.encoding import TextSide, name_tokens

Embeddings = Literal["separate", "shared"]

# Keys of configurations with the number of embeddings of a side that has its own vocabulary: FSMT and Marian.
_SIZES: dict[TextSide, tuple[str, ...]] = {
    "source": ("src_vocab_size",),
    "target": ("tgt_vocab_size", "decoder_vocab_size"),
}


def tie_embeddings(model: PreTrainedModel) -> None:
    """Tie the embeddings as `model.config.embeddings` says; other models than those of `build_model` stay as they are.

    Plain transformers loads a model with separate embeddings with three matrices, two of which are equal. Training must
    keep these two one matrix.
    """
    if getattr(model.config, "embeddings", None) != "separate":
        return

    # The encoder's matrix is the model's own, the decoder's that of the output layer.
    core = model.base_model
    core.encoder.embed_tokens.weight = core.shared.weight
    core.decoder.embed_tokens.weight = model.lm_head.weight


def count_embeddings(config: PretrainedConfig, side: TextSide) -> int | None:
    """Return how many tokens one side of a model has embeddings for; None if its configuration does not say.

    Args:
        config: Configuration of the model.
        side: Side of the tokens.
    """
    # A key of the side goes before the common one.
    text_config: Any = config.get_text_config()
    sizes = (getattr(text_config, key, None) for key in (*_SIZES[side], "vocab_size"))
    return next((size for size in sizes if isinstance(size, int)), None)


def check_ids(
    tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, *, side: TextSide, ids: Iterable[Sequence[int]]
) -> None:
    """Refuse tokens that a model has no embeddings for.

    Args:
        tokenizer: Tokenizer that made the ids.
        config: Configuration of the model that will read the ids.
        side: Side of the sentences.
        ids: Ids of each sentence.

    Raises:
        NeuronspecError: If there is such a token; the one with the highest id is named.
    """
    # Every id below the number of embeddings has one.
    size = count_embeddings(config, side)
    highest = max((max(row) for row in ids if row), default=0)
    if size is None or highest < size:
        return

    (token,) = name_tokens(tokenizer, side, [highest])
    raise NeuronspecError(
        f"the tokenizer numbers {token!r} {highest}, but the model has embeddings for {size} tokens, the last of "
        f"which is {size - 1}: take the model's own tokenizer; or, where you added tokens, call "
        f"model.resize_token_embeddings with {highest + 1} or more, train them and save the model again"
    )
