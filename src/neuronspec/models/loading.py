"""Loading and saving models as ordinary Hugging Face directories; nothing that is loaded is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError
from neuronspec.models.building import tie_embeddings


def load_model(source: str | Path, revision: str | None = None) -> PreTrainedModel:
    """Load an encoder-decoder from a directory or from the hub, in float32, weights from safetensors only.

    Raises:
        NeuronspecError: it is not a model directory, not an encoder-decoder, damaged, or lacks weights.
    """
    _check_directory(source)
    weights = {"use_safetensors": True, "dtype": "float32", "output_loading_info": True}
    model, found = _load(AutoModelForSeq2SeqLM, source, revision=revision, **weights)
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


def _load(loader: Any, source: str | Path, **arguments: Any) -> Any:
    broken = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, StrictDataclassError)
    try:
        return loader.from_pretrained(str(source), trust_remote_code=False, **arguments)
    except broken as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NeuronspecError(f"cannot load {str(source)!r}: {first}") from error


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
