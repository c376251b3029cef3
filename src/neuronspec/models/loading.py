"""Loading and saving models as ordinary Hugging Face directories; loading executes nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
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

from neuronspec.config.model_loading import DeviceMap, ModelLoading, NumberType, Quantization
from neuronspec.errors import NeuronspecError, first_line
from neuronspec.models.directories import check_directory
from neuronspec.models.embeddings import tie_embeddings
from neuronspec.models.matrices import is_matrix, reshape
from neuronspec.models.nonfinite import check_finite
from neuronspec.models.placement import loading_options

logger = logging.getLogger(__name__)

SHAPES = "ffn_shapes"  # key in a pruned model's configuration: matrix -> shape of its weight


def load_model(
    source: str | Path,
    revision: str | None = None,
    *,
    translates: bool = False,
    dtype: NumberType = "float32",
    device_map: DeviceMap | None = None,
    quantization: Quantization | None = None,
) -> PreTrainedModel:
    """Load a model from a directory or from the hub; weights are read from safetensors only.

    Plain transformers loads such directories too, except for a model whose layers were pruned to different widths
    (`neuronspec.prune`): only this function can load that.

    Args:
        source: Directory, or name on the hub.
        revision: Branch, tag or commit on the hub.
        translates: Whether it must be an encoder-decoder; otherwise any language model.
        dtype: Numbers of the weights: `float32`, which training needs; `bfloat16` or `float16`, half as large; `auto`
            for those of the files.
        device_map: `auto` spreads the layers over all GPUs, and over the CPU if they are too small (accelerate also
            knows `balanced` and `sequential`); None leaves the model on the CPU.
        quantization: `4bit` or `8bit` rounds the weights of matrices (bitsandbytes, extra `quantized`).

    Raises:
        NeuronspecError: If it is not a model directory, not the kind of model that is needed, damaged, lacks weights,
            or has weights that are NaN or infinite; if an option is unknown, or its library is missing.
    """
    config = load_configuration(source, revision, translates=translates)
    loader = find_loader(config)
    _check_weights(Path(source), loader.__name__)

    loading = ModelLoading(dtype=dtype, device_map=device_map, quantization=quantization)
    options = {"revision": revision, "use_safetensors": True, "output_loading_info": True, **loading_options(loading)}

    # A pruned model has matrices of other shapes than its class would make.
    shapes = getattr(config, SHAPES, None)
    if shapes and loading.quantization:
        raise NeuronspecError(
            f"cannot quantize {str(source)!r}: its layers were pruned to widths of their own; leave out quantization, "
            "or prune with widths='stack'"
        )
    if shapes:
        model, info = _load_narrow(loader, config, shapes=shapes, source=source, **options)
    else:
        model, info = _load_pretrained(loader, source, **options)

    # Transformers would fill missing weights with random numbers.
    missing = sorted(info["missing_keys"])
    if missing:
        raise NeuronspecError(f"cannot load {str(source)!r}: {len(missing)} weights are missing, first {missing[0]}")

    tie_embeddings(model)
    check_finite(model, str(source))
    return model


def load_configuration(
    source: str | Path, revision: str | None = None, *, translates: bool = False
) -> PreTrainedConfig:
    """Load the configuration of a model, without its weights.

    Args:
        source: Directory, or name on the hub.
        revision: Branch, tag or commit on the hub.
        translates: Whether it must be an encoder-decoder.

    Raises:
        NeuronspecError: If it is not a model directory, not the kind of model that is needed, or damaged.
    """
    check_directory(source)
    config: PreTrainedConfig = _load_pretrained(AutoConfig, source, revision=revision)
    if translates and not config.is_encoder_decoder:
        raise NeuronspecError(f"cannot translate with {str(source)!r}: {config.model_type} is no encoder-decoder")
    return config


def find_loader(config: PreTrainedConfig) -> Any:
    """Return the auto class that loads a language model; some models that also read images have another one."""
    if config.is_encoder_decoder:
        return AutoModelForSeq2SeqLM

    # A model that reads text alone is loaded without the parts for images.
    reads_text_alone = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    reads_images = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    return AutoModelForImageTextToText if reads_images and not reads_text_alone else AutoModelForCausalLM


def load_tokenizer(source: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model.

    Args:
        source: Directory, or name on the hub.
        revision: Branch, tag or commit on the hub.

    Raises:
        NeuronspecError: If there is none.
    """
    check_directory(source, weights=False)
    return _load_pretrained(AutoTokenizer, source, revision=revision)


def save_model(model: PreTrainedModel, directory: Path, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
    """Write a Hugging Face directory that loads with plain `AutoModelForSeq2SeqLM`.

    The tied matrix of separate embeddings (`build_model`) is written under both of its names, so that plain
    transformers finds every key. Other models are written by their own `save_pretrained`.

    Args:
        model: Model to save.
        directory: Directory to write.
        tokenizer: Tokenizer to save with the model; None for none.
    """
    state: dict[str, Any] | None = None
    if getattr(model.config, "embeddings", None) == "separate":
        # Copies: of tensors that share memory, transformers would write only one.
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.save_pretrained(directory, state_dict=state)
    if getattr(model.config, SHAPES, None):
        logger.info(
            "each layer has its own width, which plain transformers cannot load: load the model with "
            "neuronspec.load_model, or prune with widths='stack'"
        )
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)


def _load_narrow(
    auto: Any, config: PreTrainedConfig, shapes: Mapping[str, list[int]], source: str | Path, **options: Any
) -> Any:
    """Load a pruned model: its matrices get their shapes before the weights are read."""
    # The class that the auto class would load, found without weights.
    with torch.device("meta"):
        kind: Any = type(auto.from_config(config))

    class Narrow(kind):  # type: ignore[misc]
        def __init__(self, config: PreTrainedConfig, *arguments: Any, **more: Any) -> None:
            super().__init__(config, *arguments, **more)
            for name, shape in shapes.items():
                _reshape_part(self, name, shape)

    # Transformers recognizes a class by its name.
    Narrow.__name__, Narrow.__qualname__, Narrow.__module__ = kind.__name__, kind.__qualname__, kind.__module__
    model, info = _load_pretrained(Narrow, source, **options)

    # Once loaded, it is an ordinary model again.
    model.__class__ = kind
    return model, info


def _reshape_part(model: nn.Module, name: str, shape: Sequence[int]) -> None:
    """Give a matrix of a model, or a parameter that experts share, an uninitialized weight of a shape."""
    part = dict(model.named_modules()).get(name, model)
    if is_matrix(part):
        reshape(part, shape)
        return

    # The parameter of experts has three dimensions, of which only the width of the experts may differ.
    parameter = dict(model.named_parameters()).get(name)
    if parameter is None or parameter.ndim != 3 or len(shape) != 3:
        raise ValueError(f"its configuration has a shape for {name}, which it does not have")
    path, _, own_name = name.rpartition(".")
    setattr(model.get_submodule(path), own_name, nn.Parameter(parameter.new_empty(tuple(shape))))


_PICKLED = ("pytorch_model*.bin",)  # as transformers names its pickled weights
_OTHER_WEIGHTS = ("*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.bin", "*.gguf")  # as other tools do
_HOW_TO_CONVERT = (
    "weights are read from safetensors only, since other files can hold programs; convert them once with "
    'python -c "import transformers as t; '
    "t.{kind}.from_pretrained('{source}', use_safetensors=False).save_pretrained('DIRECTORY'); "
    "t.AutoTokenizer.from_pretrained('{source}').save_pretrained('DIRECTORY')\", which reads tensors only"
)


def _load_pretrained(loader: Any, source: str | Path, **options: Any) -> Any:
    """Return the result of a class's `from_pretrained`, with its errors explained."""
    try:
        return loader.from_pretrained(str(source), trust_remote_code=False, **options)
    except NeuronspecError:
        raise
    except Exception as error:  # tokenizers raise no other kind; their loaders read what anybody may have written
        if "couldn't connect" in str(error) or "offline" in str(error):
            raise NeuronspecError(
                f"cannot load {str(source)!r}: there is no such directory here, it was not downloaded before, and the "
                "hub cannot be reached; download it where it can, or give the directory of a model"
            ) from error

        # A name on the hub: a directory was examined before.
        lacks_safetensors = "file named model.safetensors" in str(error) and not Path(source).exists()
        advice = f"; {_HOW_TO_CONVERT.format(kind=loader.__name__, source='NAME')}" if lacks_safetensors else ""
        raise NeuronspecError(f"cannot load {str(source)!r}: {first_line(error)}{advice}") from error


def _check_weights(path: Path, kind: str) -> None:
    """Refuse a directory without weights in safetensors files, and say how to convert the weights that it has."""
    # Only a directory can be examined; for a name on the hub, loading itself fails with the same advice.
    if not path.is_dir() or any(path.glob("*.safetensors")):
        return

    # Only pickled weights of transformers can be converted with one command.
    pickled = _find_first(path, _PICKLED)
    other = _find_first(path, _OTHER_WEIGHTS)
    if pickled:
        what = f"only {pickled}; {_HOW_TO_CONVERT.format(kind=kind, source='DIRECTORY')} (DIRECTORY is that path)"
    elif other:
        what = f"only {other}; weights are read from safetensors only: save the model so with transformers"
    else:
        what = "and no other weights"
    raise NeuronspecError(f"cannot load {str(path)!r}: there is no file named model.safetensors in it, {what}")


def _find_first(path: Path, patterns: Sequence[str]) -> str | None:
    """Return the name of the first file that matches a pattern; None for none."""
    files = (file.name for pattern in patterns for file in sorted(path.glob(pattern)))
    return next(files, None)
