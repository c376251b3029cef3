"""Activation counts: how often each neuron was active for each task, as exact integers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from accelerate.utils import reduce
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from neuronspec.errors import NeuronspecError
from neuronspec.files import publish
from neuronspec.layer_names import stack_of
from neuronspec.models.nonfinite import find_nonfinite
from neuronspec.names import check_layers, check_names
from neuronspec.processes import join_processes

Unit = Literal["sentence", "token"]
COUNTS_FILE = "activation_counts.safetensors"


@dataclass(frozen=True, repr=False)
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
        means: where asked for, for each layer the (tasks, d_ff) mean activation over all counted positions: summed in
            float32 within a sentence, in float64 over sentences.
        states: where asked for, for each layer the (sentences, ceil(d_ff / 8)) uint8 bits of which neurons each
            sentence activated, packed as numpy.packbits packs them.
        state_tasks: (sentences,) int64, the task of every row of `states`.
    """

    tasks: tuple[str, ...]
    values: Mapping[str, torch.Tensor]
    totals: Mapping[str, torch.Tensor]
    unit: Unit
    signature: Mapping[str, str] = field(default_factory=dict)
    means: Mapping[str, torch.Tensor] = field(default_factory=dict)
    states: Mapping[str, torch.Tensor] = field(default_factory=dict)
    state_tasks: torch.Tensor | None = None

    def __post_init__(self) -> None:
        check_names(self.tasks)
        check_layers(self.values)

    def __repr__(self) -> str:
        return f"ActivationCounts({len(self.tasks)} tasks, {len(self.values)} layers, unit {self.unit})"

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers."""
        return tuple(self.values)

    @property
    def widths(self) -> dict[str, int]:
        """The number of neurons of each layer."""
        return {layer: counts.shape[1] for layer, counts in self.values.items()}

    def frequencies(self, layer: str, neurons: slice | None = None) -> torch.Tensor:
        """Return the (tasks, d_ff) float64 shares of sentences, or of tokens, in which each neuron was active.

        Args:
            layer: its name.
            neurons: of the layer; all where not given.
        """
        totals = self.totals[stack_of(layer)]
        return self.values[layer][:, neurons or slice(None)] / totals.clamp(min=1).to(torch.float64)[:, None]

    def save(self, directory: Path) -> Path:
        """Write `activation_counts.safetensors` into `directory` and return its path."""
        path = directory / COUNTS_FILE
        groups = {"counts": self.values, "totals": self.totals, "means": self.means, "states": self.states}
        tensors = {f"{group}.{name}": t.contiguous() for group, named in groups.items() for name, t in named.items()}
        if self.state_tasks is not None:
            tensors["state_tasks"] = self.state_tasks
        header = {"tasks": list(self.tasks), "layers": list(self.layers), "unit": self.unit}
        with publish(path) as temporary:
            save_file(tensors, temporary, {"neuronspec": json.dumps(header | {"signature": dict(self.signature)})})
        return path

    @classmethod
    def load(cls, source: str | Path) -> ActivationCounts:
        """Read counts from a directory or a file.

        Raises:
            NeuronspecError: the file is missing or holds no counts.
        """
        path = Path(source) / COUNTS_FILE if Path(source).is_dir() else Path(source)
        tensors, header = read_tensors(path, "activation counts")

        def group(name: str) -> dict[str, torch.Tensor]:
            return {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}

        try:
            layers, means, states = header["layers"], group("means"), group("states")
            if problem := _find_odd_header(header["tasks"], layers, header["unit"], header["signature"]):
                raise NeuronspecError(f"{path} is damaged: {problem}")
            check_names(header["tasks"], "task", path)
            check_layers(layers, path)
            counts = cls(
                tuple(header["tasks"]),
                {layer: tensors[f"counts.{layer}"] for layer in layers},
                group("totals"),
                header["unit"],
                header["signature"],
                {layer: means[layer] for layer in layers if means},
                {layer: states[layer] for layer in layers if states},
                tensors.get("state_tasks"),
            )
            whole = (*counts.values.values(), *counts.totals.values())
            good = all(t.dtype == torch.int64 and t.ndim > 0 and len(t) == len(counts.tasks) for t in whole)
            good = good and all(t.ndim == 2 for t in counts.values.values())
            good = good and all(t.ndim == 1 for t in counts.totals.values())
            for stack in {stack_of(layer) for layer in layers}:
                counts.totals[stack]  # a KeyError says that it is missing
        except (KeyError, TypeError) as error:
            raise NeuronspecError(f"{path} holds no activation counts: {error} is missing in its header") from error
        if not good:
            raise NeuronspecError(f"{path} is damaged: expected int64 rows for {len(counts.tasks)} tasks")
        counts.check(str(path))
        return counts

    def check(self, what: str = "the counts") -> None:
        """Refuse counts that nothing can have been counted to, as a model with NaN weights leaves them.

        Args:
            what: Their name in the message.

        Raises:
            NeuronspecError: A count is negative or not finite, or a mean is not finite.
        """
        for layer, values in self.values.items():
            strange = ~(values >= 0) | values.isinf()  # true for NaN
            if strange.any():
                row, neuron = strange.nonzero()[0].tolist()
                raise NeuronspecError(
                    f"{what}: {layer}:{neuron} was active {values[row, neuron].item()} times for {self.tasks[row]}, "
                    "which is no count: record them again"
                )
        if bad := find_nonfinite(self.means.items()):
            raise NeuronspecError(
                f"{what}: the means of {bad[0]} are not finite, as a model with NaN or infinite weights leaves them: "
                "record a sound model"
            )

    @classmethod
    def concatenate(cls, parts: Sequence[ActivationCounts]) -> ActivationCounts:
        """Return the counts of several recordings of different tasks as one.

        Args:
            parts: of the same model, unit and layers, with no task in common.

        Raises:
            NeuronspecError: they do not belong together.
        """
        if not parts:
            raise NeuronspecError("there are no counts to put together")
        first = parts[0]
        for part in parts[1:]:
            if (part.widths, part.unit, part.signature) != (first.widths, first.unit, first.signature):
                raise NeuronspecError(
                    f"the counts of {', '.join(part.tasks)} and of {', '.join(first.tasks)} do not belong together: "
                    "their layers, widths, unit or signature differ"
                )
        tasks = tuple(task for part in parts for task in part.tasks)
        if len(set(tasks)) < len(tasks):
            raise NeuronspecError(f"a task has counts in more than one part: {', '.join(tasks)}")
        starts = [sum(len(part.tasks) for part in parts[:number]) for number in range(len(parts))]

        def join(name: str) -> dict[str, torch.Tensor]:
            named = [getattr(part, name) for part in parts]
            return {key: torch.cat([tensors[key] for tensors in named]) for key in named[0] if all(named)}

        rows = [p.state_tasks + start for p, start in zip(parts, starts, strict=True) if p.state_tasks is not None]
        return cls(
            tasks,
            join("values"),
            join("totals"),
            first.unit,
            first.signature,
            join("means"),
            join("states"),
            torch.cat(rows) if len(rows) == len(parts) else None,
        )

    def sum_over_processes(self) -> ActivationCounts:
        """Return the sum of the counts of all processes that `accelerate launch` started; on one, these counts.

        Every process must have recorded with the same `tasks`, each its own share of the sentences. The sum of
        integers is exact: it does not depend on how many processes there were (promise R5).

        Raises:
            NeuronspecError: there are means or states, which are not kept for several processes.
        """
        state = join_processes()
        if state.num_processes == 1:
            return self
        if self.means or self.states:
            raise NeuronspecError("means and states are recorded on one process: launch one, or leave them out")

        def total(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            # Sorted: every process must name the tensors in the same order.
            return {name: reduce(tensors[name].to(state.device), "sum").cpu() for name in sorted(tensors)}

        values, totals = total(self.values), total(self.totals)
        return replace(self, values={layer: values[layer] for layer in self.layers}, totals=totals)


def _find_odd_header(tasks: Any, layers: Any, unit: Any, signature: Any) -> str | None:
    """Return what is wrong with the header of a file of counts; names are checked apart."""
    if not isinstance(tasks, list) or not tasks or any(tasks.count(task) > 1 for task in tasks):
        return "its tasks are not a list of different names"
    if not isinstance(layers, list) or not layers or any(layers.count(layer) > 1 for layer in layers):
        return "its layers are not a list of different names"
    if unit not in get_args(Unit):
        return f"its unit is {unit!r}, expected {' or '.join(get_args(Unit))}"
    if not isinstance(signature, dict) or not all(isinstance(value, str) for value in signature.values()):
        return "its signature is not a mapping to strings"
    return None


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
    if not os.path.isfile(path):  # noqa: PTH113 - of a name that is too long, Path.is_file raises
        raise NeuronspecError(f"{path} does not exist: expected {what}")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("neuronspec", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, ValueError, RuntimeError, OverflowError, OSError, TypeError, RecursionError) as error:
        raise NeuronspecError(f"{path} is damaged or no safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise NeuronspecError(f"{path} holds no {what}: its header has no 'neuronspec' entry")
    return tensors, header
