"""Loading and saving models as ordinary Hugging Face directories; nothing that is loaded is executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.models.directories import check_directory
from neuronspec.models.embeddings import tie_embeddings
from neuronspec.models.matrices import is_matrix, reshape
from neuronspec.models.nonfinite import check_finite

SHAPES = "ffn_shapes"  # the key of a pruned model's configuration: matrix -> the shape of its weight


def load_model(source: str | Path, revision: str | None = None, *, translates: bool = False) -> PreTrainedModel:
    """Load a model from a directory or from the hub, in float32, weights from safetensors only.

    Plain transformers load it as well, but for a model whose layers were pruned to widths of their own
    (`neuronspec.prune`), which only this function puts together again.

    Args:
        source: a directory, or a name on the hub.
        revision: a branch, tag or commit on the hub.
        translates: whether it must be an encoder-decoder; any language model otherwise.

    Raises:
        NeuronspecError: it is not a model directory, not of the kind that is needed, damaged, lacks weights, or has
            weights that are NaN or infinite.
    """
    config = load_configuration(source, revision, translates=translates)
    kind = _find_kind(config)
    _check_weights(Path(source), kind.__name__)
    weights = {"use_safetensors": True, "dtype": "float32", "output_loading_info": True}
    if shapes := getattr(config, SHAPES, None):
        model, found = _load_narrow(kind, config, shapes, source, revision=revision, **weights)
    else:
        model, found = _load(kind, source, revision=revision, **weights)
    if missing := sorted(found["missing_keys"]):  # transformers would fill them with random numbers
        raise NeuronspecError(f"cannot load {str(source)!r}: {len(missing)} weights are missing, first {missing[0]}")
    tie_embeddings(model)
    check_finite(model, str(source))
    return model


def load_configuration(
    source: str | Path, revision: str | None = None, *, translates: bool = False
) -> PreTrainedConfig:
    """Load the configuration of a model, without its weights.

    Args:
        source: a directory, or a name on the hub.
        revision: a branch, tag or commit on the hub.
        translates: whether it must be an encoder-decoder.

    Raises:
        NeuronspecError: it is not a model directory, not of the kind that is needed, or damaged.
    """
    check_directory(source)
    config: PreTrainedConfig = _load(AutoConfig, source, revision=revision)
    if translates and not config.is_encoder_decoder:
        raise NeuronspecError(f"cannot translate with {str(source)!r}: {config.model_type} is no encoder-decoder")
    return config


def _find_kind(config: PreTrainedConfig) -> Any:
    """Return the class that loads a language model; some that read pictures too are known by another one."""
    if config.is_encoder_decoder:
        return AutoModelForSeq2SeqLM
    reads_text_alone = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    reads_pictures = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    return AutoModelForImageTextToText if reads_pictures and not reads_text_alone else AutoModelForCausalLM


def load_tokenizer(source: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model.

    Raises:
        NeuronspecError: there is none.
    """
    check_directory(source, weights=False)
    return _load(AutoTokenizer, source, revision=revision)


def save_model(model: PreTrainedModel, directory: Path, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
    """Write a Hugging Face directory that loads with plain `AutoModelForSeq2SeqLM`.

    With separate embeddings (`build_model`) the tied matrix is written under both of its names, so that stock
    loading finds every key; other models are saved as they save themselves.
    """
    state: dict[str, Any] | None = None
    if getattr(model.config, "embeddings", None) == "separate":
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.save_pretrained(directory, state_dict=state)
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)


def _load_narrow(auto: Any, config: PreTrainedConfig, shapes: Mapping[str, list[int]], source: Any, **more: Any) -> Any:
    """Load a pruned model: its class is built as always, and its matrices get their shapes before the weights come."""
    with torch.device("meta"):
        kind: Any = type(auto.from_config(config))

    class Narrow(kind):  # type: ignore[misc]
        def __init__(self, config: PreTrainedConfig, *arguments: Any, **options: Any) -> None:
            super().__init__(config, *arguments, **options)
            parts = dict(self.named_modules())
            for name, shape in shapes.items():
                if not is_matrix(matrix := parts.get(name, self)):
                    raise ValueError(f"its configuration has a shape for {name}, which it does not have")
                reshape(matrix, shape)

    Narrow.__name__, Narrow.__qualname__, Narrow.__module__ = kind.__name__, kind.__qualname__, kind.__module__
    model, found = _load(Narrow, source, **more)
    model.__class__ = kind
    return model, found


def _load(loader: Any, source: str | Path, **arguments: Any) -> Any:
    broken = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, StrictDataclassError)
    try:
        return loader.from_pretrained(str(source), trust_remote_code=False, **arguments)
    except broken as error:
        unsafe = "file named model.safetensors" in str(error) and not Path(source).exists()
        advice = f"; {_HOW_TO_CONVERT.format(kind=loader.__name__, source='NAME')}" if unsafe else ""
        raise NeuronspecError(f"cannot load {str(source)!r}: {first_line(error)}{advice}") from error


_PICKLED, _OTHERS = ("pytorch_model*.bin",), ("*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.bin", "*.gguf")
_HOW_TO_CONVERT = (
    "weights are read from safetensors only, since other files can hold programs; convert them once with "
    'python -c "import transformers as t; '
    "t.{kind}.from_pretrained('{source}', use_safetensors=False).save_pretrained('DIRECTORY'); "
    "t.AutoTokenizer.from_pretrained('{source}').save_pretrained('DIRECTORY')\", which reads tensors only"
)


def _check_weights(path: Path, kind: str) -> None:
    """Refuse a directory whose weights are in no safetensors file, and say how to convert them."""
    if not path.is_dir() or any(path.glob("*.safetensors")):
        return
    pickled, others = (
        [file.name for pattern in patterns for file in sorted(path.glob(pattern))] for patterns in (_PICKLED, _OTHERS)
    )
    if pickled:
        what = f"only {pickled[0]}; {_HOW_TO_CONVERT.format(kind=kind, source='DIRECTORY')} (DIRECTORY is that path)"
    elif others:
        what = f"only {others[0]}; weights are read from safetensors only: save the model so with transformers"
    else:
        what = "and no other weights"
    raise NeuronspecError(f"cannot load {str(path)!r}: there is no file named model.safetensors in it, {what}")
