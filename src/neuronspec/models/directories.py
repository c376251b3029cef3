"""Directories of models, checked before the libraries that load them are imported."""

from __future__ import annotations

from pathlib import Path

from neuronspec.artifacts.hub import avoid_retries
from neuronspec.data.reading_errors import explain_missing
from neuronspec.errors import NeuronspecError
from neuronspec.files import read_json

MODEL_FILE = "config.json"  # without it, nothing is the directory of a model
ADAPTER_FILE = "adapter_config.json"  # written by PEFT next to the weights of an adapter
GENERATION_FILE = "generation_config.json"  # how transformers decodes where nothing else is asked for


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
        avoid_retries()
        return

    path = Path(source)
    if not path.exists():
        raise NeuronspecError(f"{path} is not a model directory: {explain_missing(path)}")

    # Transformers needs one of these files.
    kind, needed = ("model", MODEL_FILE) if weights else ("tokenizer", "tokenizer_config.json")
    if not (path / needed).is_file():
        found = f"no {needed} in it" if path.is_dir() else "it is a file"
        raise NeuronspecError(f"{path} is not a {kind} directory: {found}{_suggest_directory(path)}")

    # Transformers would load another model, which the adapter's file names.
    if weights and (path / ADAPTER_FILE).is_file():
        raise NeuronspecError(
            f"{path} holds an adapter of PEFT ({ADAPTER_FILE}), which names its base model: merge them first, "
            "peft.AutoPeftModelForSeq2SeqLM.from_pretrained(DIRECTORY).merge_and_unload().save_pretrained(OTHER), and "
            "give the other directory"
        )


def _suggest_directory(path: Path) -> str:
    """Return a hint with the directories of models around a file or within a directory, or an empty string."""
    if path.is_file():
        found = [path.parent] if (path.parent / MODEL_FILE).is_file() else []
    else:
        # A run has its models three folders down, and checkpoints below them that nobody means.
        depths = ("*", "*/*", "*/*/*")
        found = [file.parent for depth in depths for file in sorted(path.glob(f"{depth}/{MODEL_FILE}"))]

    shown = " or ".join(map(str, found[:2]))
    return f" (did you mean {shown}?)" if found else ""


def is_built_here(path: Path) -> bool:
    """Return whether a directory holds a model of `build_model`; a damaged one is none."""
    try:
        config = read_json(path / MODEL_FILE)
    except (NeuronspecError, OSError):
        return False

    # No other model has this key.
    return isinstance(config, dict) and config.get("embeddings") is not None


def _is_local(source: str | Path) -> bool:
    """Return whether a source can only be a path, or is one; a name on the hub looks like `facebook/nllb-200`."""
    path, text = Path(source), str(source)
    looks_like_path = path.is_absolute() or text.startswith((".", "~")) or text.endswith("/") or text.count("/") > 1

    # `models/nllb` is meant to be here if the folder `models` is.
    return looks_like_path or path.exists() or (len(path.parts) > 1 and Path(path.parts[0]).is_dir())
