"""Converting a model to CTranslate2's format, with the conversions of its library set right where they fall short."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import BartConfig, PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.layer_names import STACKS
from neuronspec.libraries import import_library

# The architectures whose conversions are compared with transformers, output by output.
CONVERTIBLE = ("m2m_100", "mbart", "bart", "marian", "pegasus", "t5", "mt5", "umt5")
INSTEAD = "translate with the default engine instead"


def check_convertible(model: PreTrainedModel) -> None:
    """Refuse a model that cannot be converted.

    Raises:
        NeuronspecError: it is no encoder-decoder, or its architecture is not known.
    """
    config = model.config
    if not config.is_encoder_decoder:
        raise NeuronspecError(f"cannot translate with a {config.model_type!r} model: it is no encoder-decoder")
    if config.model_type not in CONVERTIBLE:
        known = ", ".join(CONVERTIBLE)
        raise NeuronspecError(f"CTranslate2 cannot convert a {config.model_type!r} model, only {known}: {INSTEAD}")
    if len({getattr(config, f"{stack}_attention_heads", None) for stack in STACKS}) > 1:
        raise NeuronspecError(f"CTranslate2 needs as many attention heads in the decoder as the encoder: {INSTEAD}")


def convert(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, directory: Path, compute_type: str) -> None:
    """Convert a model, which is spoilt by it: int8 conversion writes to the weights.

    Args:
        model: an encoder-decoder that `check_convertible` lets pass; give a copy.
        tokenizer: the model's; in the conversion every token is called by its number.
        directory: where to write.
        compute_type: the precision to store the weights in, `default` for float32.

    Raises:
        NeuronspecError: CTranslate2 refuses the model.
    """
    converters = import_library("ctranslate2.converters", "converting", "ct2")
    config = model.to("cpu", torch.float32).config
    config.dtype = torch.float32
    special = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad", "unk")}
    tokens = SimpleNamespace(  # every token is called by its number: no two alike, none lost
        get_vocab=lambda: {str(number): number for number in range(config.vocab_size)},
        convert_ids_to_tokens=lambda _: None,  # what decoding starts with is given with each sentence
        special_tokens_map={},
        unk_token_id=special["unk"],
        **{f"{name}_token": str(special["eos"] if number is None else number) for name, number in special.items()},
    )
    with tempfile.TemporaryDirectory() as source:
        # These are made as Bart is. As itself, Marian would lose its last token and what decoding starts from.
        (BartConfig() if config.model_type in ("marian", "mbart", "pegasus") else config).save_pretrained(source)
        # Transformers decides these by the class, the converter by the configuration.
        config.normalize_before = hasattr(model.get_encoder(), "layer_norm")
        config.normalize_embedding = hasattr(model.get_encoder(), "layernorm_embedding")
        for part in model.modules():
            if hasattr(part, "make_weights"):  # M2M-100's table, in which padding decides where positions begin
                part.offset = part.padding_idx + 1
        scales = config.model_type == "umt5" and config.tie_word_embeddings
        config.tie_word_embeddings = getattr(config, "scale_decoder_outputs", scales)
        converter = converters.TransformersConverter(source)
        converter.load_model, converter.load_tokenizer = lambda *_, **__: model, lambda *_, **__: tokens
        _number_targets(converter, model)
        try:
            stored = None if compute_type in ("default", "auto") else compute_type
            converter.convert(str(directory), quantization=stored, force=True)
        except (ValueError, KeyError, AttributeError, NotImplementedError) as error:
            reason = f"{config.model_type!r} model: {first_line(error)}"
            raise NeuronspecError(f"CTranslate2 cannot convert this {reason}; {INSTEAD}") from error


def _number_targets(converter: Any, model: PreTrainedModel) -> None:
    """Let a converter give the decoder a vocabulary of its own where its size differs from the encoder's."""
    size = getattr(model.config, "decoder_vocab_size", None)
    if size in (None, model.config.vocab_size):
        return
    load = converter._load  # what each kind of converter defines

    def load_with_targets() -> Any:
        specification = load()
        specification._vocabularies["target"].clear()  # which holds the source's tokens
        specification.register_target_vocabulary([str(number) for number in range(size)])
        return specification

    converter._load = load_with_targets
