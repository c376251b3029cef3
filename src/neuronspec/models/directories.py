"""Directories of models, checked before the libraries that load them are imported."""

from __future__ import annotations

from pathlib import Path

from neuronspec.errors import NeuronspecError

ADAPTER_FILE = "adapter_config.json"  # written by PEFT next to the weights of an adapter


def check_directory(source: str | Path, weights: bool = True) -> None:
    """Refuse a path that is not the directory of a model; a name on the hub passes.

    Args:
        source: Directory, or name on the hub.
        weights: Whether it must be the directory of a model; otherwise that of a tokenizer.

    Raises:
        NeuronspecError: If the path does not exist, is a file, lacks the configuration of a model or tokenizer, or
            holds an adapter for another model.
    """
    if not _is_local(source):
        return

    path = Path(source)
    if not path.is_dir():
        raise NeuronspecError(f"{path} is not a model directory: it does not exist or is a file")

    # Transformers needs one of these files.
    kind, needed = ("model", "config.json") if weights else ("tokenizer", "tokenizer_config.json")
    if not (path / needed).is_file():
        raise NeuronspecError(f"{path} is not a {kind} directory: no {needed} in it")

    # Transformers would load another model, which the adapter's file names.
    if weights and (path / ADAPTER_FILE).is_file():
        raise NeuronspecError(
            f"{path} holds an adapter of PEFT ({ADAPTER_FILE}), which names its base model: merge them first, "
            "peft.AutoPeftModelForSeq2SeqLM.from_pretrained(DIRECTORY).merge_and_unload().save_pretrained(OTHER), and "
            "give the other directory"
        )


def _is_local(source: str | Path) -> bool:
    """Return whether a source can only be a path, or is one; a name on the hub looks like `facebook/nllb-200`."""
    path, text = Path(source), str(source)
    looks_like_path = path.is_absolute() or text.startswith((".", "~")) or text.count("/") > 1
    return looks_like_path or path.exists()
