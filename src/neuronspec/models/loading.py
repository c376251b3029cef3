"""Loading and saving models as ordinary Hugging Face directories; nothing that is loaded is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.models.building import tie_embeddings
from neuronspec.models.matrices import is_matrix, set_parameters, turn


def load_model(source: str | Path, revision: str | None = None, *, translates: bool = False) -> PreTrainedModel:
    """Load a model from a directory or from the hub, in float32, weights from safetensors only.

    Plain transformers load it as well, but for a model whose layers were pruned to widths of their own
    (`neuronspec.prune`), which only this function puts together again.

    Args:
        source: a directory, or a name on the hub.
        revision: a branch, tag or commit on the hub.
        translates: whether it must be an encoder-decoder; any language model otherwise.

    Raises:
        NeuronspecError: it is not a model directory, not of the kind that is needed, damaged, or lacks weights.
    """
    _check_directory(source)
    config = _load(AutoConfig, source, revision=revision)
    if translates and not config.is_encoder_decoder:
        raise NeuronspecError(f"cannot translate with {str(source)!r}: {config.model_type} is no encoder-decoder")
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    if getattr(config, "ffn_widths", None):
        return _load_own_widths(kind, config, Path(source))
    weights = {"use_safetensors": True, "dtype": "float32", "output_loading_info": True}
    model, found = _load(kind, source, revision=revision, **weights)
    if missing := sorted(found["missing_keys"]):  # transformers would fill them with random numbers
        raise NeuronspecError(f"cannot load {str(source)!r}: {len(missing)} weights are missing, first {missing[0]}")
    tie_embeddings(model)
    return model


def load_tokenizer(source: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model.

    Raises:
        NeuronspecError: there is none.
    """
    _check_directory(source, weights=False)
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


def _load_own_widths(kind: Any, config: PreTrainedConfig, directory: Path) -> PreTrainedModel:
    """Load a model that was pruned: build it, give its matrices the sizes that are in the files, and fill them."""
    state: dict[str, torch.Tensor] = {}
    try:
        for file in sorted(directory.glob("model*.safetensors")):
            state |= load_file(file)
        model: PreTrainedModel = kind.from_config(config, dtype=torch.float32)
        for name, module in model.named_modules():
            weight = state.get(f"{name}.weight")
            if is_matrix(module) and weight is not None and weight.shape != module.weight.shape:
                set_parameters(module, turn(module, weight), state.get(f"{name}.bias"))
        model.load_state_dict(state, strict=False)
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise NeuronspecError(f"cannot load {str(directory)!r}: {first_line(error)}") from error
    model.tie_weights()
    tie_embeddings(model)
    names: dict[torch.nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    missing = [same[0] for same in names.values() if not state.keys() & same]
    if missing:
        raise NeuronspecError(f"cannot load {str(directory)!r}: {len(missing)} weights are missing, first {missing[0]}")
    return model.eval()


def _load(loader: Any, source: str | Path, **arguments: Any) -> Any:
    broken = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, StrictDataclassError)
    try:
        return loader.from_pretrained(str(source), trust_remote_code=False, **arguments)
    except broken as error:
        raise NeuronspecError(f"cannot load {str(source)!r}: {first_line(error)}") from error


def _check_directory(source: str | Path, weights: bool = True) -> None:
    path = Path(source)
    local = path.is_absolute() or path.exists() or str(source).startswith((".", "~")) or str(source).count("/") > 1
    if not local:
        return
    if not path.is_dir():
        raise NeuronspecError(f"{path} is not a model directory: it does not exist or is a file")
    needed = ["config.json"] if weights else ["tokenizer_config.json"]
    missing = [name for name in needed if not (path / name).is_file()]
    if missing:
        raise NeuronspecError(f"{path} is not a {'model' if weights else 'tokenizer'} directory: no {missing[0]} in it")
