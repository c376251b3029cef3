"""Activation counts: how often each neuron was active for each task, as exact integers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from neuronspec.errors import NeuronspecError
from neuronspec.files import publish

Unit = Literal["sentence", "token"]
COUNTS_FILE = "activation_counts.safetensors"


@dataclass(frozen=True)
class ActivationCounts:
    """How often each neuron was active, for each task.

    Args:
        tasks: their names, in the order of the rows.
        values: for each layer, (tasks, d_ff) int64.
        totals: (tasks,) int64: the sentences, or the token positions, that were seen of each task in the encoder
            and in the decoder (`{"encoder": ..., "decoder": ...}`).
        unit: `sentence` counts a sentence once where any of its real tokens activates the neuron (paper, 3.1);
            `token` counts every real token position.
        signature: what else the counts depend on (model and data hashes, version), as strings.
    """

    tasks: tuple[str, ...]
    values: Mapping[str, torch.Tensor]
    totals: Mapping[str, torch.Tensor]
    unit: Unit
    signature: Mapping[str, str] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers."""
        return tuple(self.values)

    def frequencies(self, layer: str) -> torch.Tensor:
        """Return the (tasks, d_ff) float64 shares of sentences, or of tokens, in which each neuron was active."""
        totals = self.totals[layer.partition(".")[0]]
        return self.values[layer] / totals.clamp(min=1).to(torch.float64)[:, None]

    def save(self, directory: Path) -> Path:
        """Write `activation_counts.safetensors` into `directory` and return its path."""
        path = directory / COUNTS_FILE
        tensors = {f"counts.{layer}": values.contiguous() for layer, values in self.values.items()}
        tensors |= {f"totals.{stack}": totals.contiguous() for stack, totals in self.totals.items()}
        header = {"tasks": list(self.tasks), "layers": list(self.layers), "unit": self.unit}
        with publish(path) as temporary:
            save_file(tensors, temporary, {"neuronspec": json.dumps(header | {"signature": dict(self.signature)})})
        return path

    @classmethod
    def load(cls, source: Path) -> ActivationCounts:
        """Read counts from a directory or a file.

        Raises:
            NeuronspecError: the file is missing or holds no counts.
        """
        path = source / COUNTS_FILE if source.is_dir() else source
        tensors, header = read_tensors(path, "activation counts")
        try:
            layers = {layer: tensors[f"counts.{layer}"] for layer in header["layers"]}
            totals = {stack.removeprefix("totals."): tensors[stack] for stack in tensors if stack.startswith("totals.")}
            counts = cls(tuple(header["tasks"]), layers, totals, header["unit"], header["signature"])
            good = all(t.dtype == torch.int64 and len(t) == len(counts.tasks) for t in tensors.values())
        except (KeyError, TypeError) as error:
            raise NeuronspecError(f"{path} holds no activation counts: {error} is missing in its header") from error
        if not good:
            raise NeuronspecError(f"{path} is damaged: expected int64 rows for {len(counts.tasks)} tasks")
        return counts


def read_tensors(path: Path, what: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a safetensors file of ours with its JSON header.

    Args:
        path: the file.
        what: what it should hold, for messages.

    Returns:
        The tensors and the header.

    Raises:
        NeuronspecError: the file is missing, damaged, or of another kind.
    """
    if not path.is_file():
        raise NeuronspecError(f"{path} does not exist: expected {what}")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("neuronspec", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, ValueError, RuntimeError, OverflowError, OSError, TypeError) as error:
        raise NeuronspecError(f"{path} is damaged or no safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise NeuronspecError(f"{path} holds no {what}: its header has no 'neuronspec' entry")
    return tensors, header
