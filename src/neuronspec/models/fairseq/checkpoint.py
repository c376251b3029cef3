"""A fairseq checkpoint: its weights, and the settings that it was trained with."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neuronspec.artifacts.torch_archives import check_sums, check_tensor, read_torch_archive
from neuronspec.errors import NeuronspecError

# Parts of nested settings (`encoder: {layers: 6}`) whose flat names differ from `encoder_layers`
_NESTED = ("encoder", "decoder")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The parts of a checkpoint that a model is made of.

    Attributes:
        path: Path of the file.
        weights: Tensors by fairseq's names; they stay in the file until they are used.
        model: Settings of the model by name, such as `encoder_layers`.
        task: Settings of the task by name, such as `langs`.
    """

    path: Path
    weights: Mapping[str, torch.Tensor]
    model: Mapping[str, Any]
    task: Mapping[str, Any]


def is_checkpoint(content: Any) -> bool:
    """Return whether the content of a PyTorch file is that of a fairseq checkpoint."""
    return isinstance(content, Mapping) and isinstance(content.get("model"), Mapping)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; its optimizer state stays unread.

    Args:
        path: Path of the file.

    Raises:
        NeuronspecError: If it is missing, damaged, no checkpoint of fairseq, or one of several shards.
    """
    # Settings are a namespace, the only class that a checkpoint needs.
    content = read_torch_archive(path, allowed=[argparse.Namespace], lazily=True)
    if not is_checkpoint(content):
        raise NeuronspecError(f"{path} is no fairseq checkpoint: it has no state dict named 'model'")
    if content.get("fsdp_metadata") is not None:
        raise NeuronspecError(
            f"{path} is one shard of a model (fsdp_metadata): consolidate its shards with fairseq first"
        )

    check_sums(path)
    weights = {
        str(name): check_tensor(tensor, f"{path}: {name}", path.stat().st_size)
        for name, tensor in content["model"].items()
    }
    model, task = _read_settings(content, path)
    return Checkpoint(path=path, weights=weights, model=model, task=task)


def _read_settings(content: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the model and those of the task."""
    # One namespace for both, as until fairseq 0.9
    arguments, configuration = content.get("args"), content.get("cfg")
    if arguments is not None:
        settings = _flatten(arguments)
        return settings, settings

    if not isinstance(configuration, Mapping):
        raise NeuronspecError(
            f"{path} has neither args nor cfg, the settings of the model: take the checkpoint that fairseq saved"
        )
    model, task = _flatten(configuration.get("model")), _flatten(configuration.get("task"))

    # A namespace of the model holds the settings of the task as well.
    return model, {**model, **task}


def _flatten(settings: Any) -> dict[str, Any]:
    """Return settings by flat names; of anything else than settings, none."""
    values = vars(settings) if isinstance(settings, argparse.Namespace) else settings
    if not isinstance(values, Mapping):
        return {}

    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name in _NESTED and isinstance(value, Mapping):
            flat |= {f"{name}_{key}": inner for key, inner in value.items()}
        else:
            flat[str(name)] = value
    return flat
