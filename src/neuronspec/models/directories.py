"""Directories of models, looked at before the libraries that load them are imported."""

from __future__ import annotations

from pathlib import Path

from neuronspec.errors import NeuronspecError

ADAPTER_FILE = "adapter_config.json"


def check_directory(source: str | Path, weights: bool = True) -> None:
    """Refuse a path that is no directory of a model; a name on the hub passes.

    Args:
        source: Directory, or name on the hub.
        weights: Whether it must be a model's directory; a tokenizer's otherwise.

    Raises:
        NeuronspecError: The path does not exist, is a file, lacks the configuration of a model or tokenizer,
            or holds an adapter for another model.
    """
    path = Path(source)
    local = path.is_absolute() or path.exists() or str(source).startswith((".", "~")) or str(source).count("/") > 1
    if not local:
        return
    if not path.is_dir():
        raise NeuronspecError(f"{path} is not a model directory: it does not exist or is a file")
    needed = "config.json" if weights else "tokenizer_config.json"
    if not (path / needed).is_file():
        raise NeuronspecError(f"{path} is not a {'model' if weights else 'tokenizer'} directory: no {needed} in it")
    if weights and (path / ADAPTER_FILE).is_file():  # transformers would load another model, which that file names
        raise NeuronspecError(
            f"{path} holds an adapter of PEFT ({ADAPTER_FILE}), which names its base model: merge them first, "
            "peft.AutoPeftModelForSeq2SeqLM.from_pretrained(DIRECTORY).merge_and_unload().save_pretrained(OTHER), and "
            "give the other directory"
        )
