"""Conversion of a model to CTranslate2's format, with corrections where the library's own conversion falls short."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import BartConfig, PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.layer_names import STACKS
from neuronspec.libraries import import_library

# Architectures whose conversions are compared with transformers in tests, output by output.
CONVERTIBLE = ("m2m_100", "mbart", "bart", "marian", "pegasus", "t5", "mt5", "umt5")
USE_DEFAULT_ENGINE = "translate with the default engine instead"

# These are made as Bart is. As itself, Marian would lose its last token and the start of the decoder.
_LIKE_BART = ("marian", "mbart", "pegasus")


def check_convertible(model: PreTrainedModel) -> None:
    """Refuse a model that cannot be converted.

    Raises:
        NeuronspecError: If it is no encoder-decoder, or its architecture is not among the tested ones.
    """
    config = model.config
    if not config.is_encoder_decoder:
        raise NeuronspecError(f"cannot translate with a {config.model_type!r} model: it is no encoder-decoder")

    if config.model_type not in CONVERTIBLE:
        known = ", ".join(CONVERTIBLE)
        raise NeuronspecError(
            f"CTranslate2 cannot convert a {config.model_type!r} model, only {known}: {USE_DEFAULT_ENGINE}"
        )

    # A converted model has one number of heads.
    heads = {getattr(config, f"{stack}_attention_heads", None) for stack in STACKS}
    if len(heads) > 1:
        raise NeuronspecError(
            f"CTranslate2 needs as many attention heads in the decoder as in the encoder: {USE_DEFAULT_ENGINE}"
        )


def convert(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    directory: Path,
    compute_type: str,
    names: Sequence[str] | None = None,
) -> None:
    """Convert a model, which must be a copy: conversion changes its configuration, and to int8 also its weights.

    Args:
        model: Copy of an encoder-decoder that passes `check_convertible`.
        tokenizer: Tokenizer of the model.
        directory: Directory to write.
        compute_type: Precision to store the weights in; `default` for float32.
        names: Name of each token in the conversion, all different; by default its number. A target vocabulary of its
            own always has numbers.

    Raises:
        NeuronspecError: If CTranslate2 refuses the model.
    """
    converters = import_library("ctranslate2.converters", "converting", "ct2")
    # The weights are handed over in float32, from which CTranslate2 makes any other precision.
    config = model.to("cpu", torch.float32).config
    config.dtype = torch.float32
    tokens = _name_tokens(tokenizer, names or [str(number) for number in range(config.vocab_size)])
    stored = None if compute_type in ("default", "auto") else compute_type

    with tempfile.TemporaryDirectory() as source:
        # The class of the configuration decides which of the library's conversions is used.
        read_as = BartConfig() if config.model_type in _LIKE_BART else config
        read_as.save_pretrained(source)
        _prepare(model)

        # The converter takes the model and the tokens from memory.
        converter = converters.TransformersConverter(source)
        converter.load_model = lambda *_, **__: model
        converter.load_tokenizer = lambda *_, **__: tokens
        _number_targets(converter, model)
        try:
            converter.convert(str(directory), quantization=stored, force=True)
        except (ValueError, KeyError, AttributeError, NotImplementedError) as error:
            # These are the library's errors for models that it does not know.
            reason = f"{config.model_type!r} model: {first_line(error)}"
            raise NeuronspecError(f"CTranslate2 cannot convert this {reason}; {USE_DEFAULT_ENGINE}") from error


def _name_tokens(tokenizer: PreTrainedTokenizerBase, names: Sequence[str]) -> SimpleNamespace:
    """Return a tokenizer for the converter with these names of tokens: no two are alike, none is lost."""
    # A special token that does not exist is called like the end of a sentence.
    special: dict[str, str] = {}
    for name in ("bos", "eos", "pad", "unk"):
        number = getattr(tokenizer, f"{name}_token_id")
        special[f"{name}_token"] = names[tokenizer.eos_token_id if number is None else number]

    return SimpleNamespace(
        get_vocab=lambda: {name: number for number, name in enumerate(names)},
        convert_ids_to_tokens=lambda _: None,  # the start of the decoder is given with each sentence
        special_tokens_map={},
        unk_token_id=tokenizer.unk_token_id,
        **special,
    )


def _prepare(model: PreTrainedModel) -> None:
    """Give a model what the converter reads from it."""
    config = model.config

    # Transformers decides these by the class, the converter by the configuration.
    config.normalize_before = hasattr(model.get_encoder(), "layer_norm")
    config.normalize_embedding = hasattr(model.get_encoder(), "layernorm_embedding")
    scales = config.model_type == "umt5" and config.tie_word_embeddings
    config.tie_word_embeddings = getattr(config, "scale_decoder_outputs", scales)

    # In M2M-100's table, the padding token decides where positions begin.
    for part in model.modules():
        if hasattr(part, "make_weights"):
            part.offset = part.padding_idx + 1


def _number_targets(converter: Any, model: PreTrainedModel) -> None:
    """Let a converter give the decoder a vocabulary of its own if its size differs from the encoder's."""
    # Marian models can have a larger or smaller vocabulary for targets.
    size = getattr(model.config, "decoder_vocab_size", None)
    if size in (None, model.config.vocab_size):
        return

    load = converter._load  # defined by each kind of converter

    def load_with_targets() -> Any:
        specification = load()
        specification._vocabularies["target"].clear()  # it holds the source's tokens
        specification.register_target_vocabulary([str(number) for number in range(size)])
        return specification

    converter._load = load_with_targets
