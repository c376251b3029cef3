"""Activation counts: how often each neuron was active for each task, as exact integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from accelerate.utils import reduce

from neuronspec.errors import NeuronspecError
from neuronspec.layer_names import stack_of
from neuronspec.models.nonfinite import find_nonfinite
from neuronspec.names import check_layers, check_names
from neuronspec.neurons.activity import Unit
from neuronspec.neurons.count_files import COUNTS, read_counts, write_counts
from neuronspec.processes import join_processes


@dataclass(frozen=True, repr=False)
class ActivationCounts:
    """The number of times that each neuron was active, for each task.

    Args:
        tasks: Names of the tasks, in the order of the rows.
        values: For each layer, (tasks, d_ff) int64.
        totals: For each stack, (tasks,) int64: the number of sentences, or of token positions, that were seen of each
            task (`{"encoder": ..., "decoder": ...}`).
        unit: `sentence` counts a sentence once if any of its real tokens activates the neuron (paper, 3.1);
            `token` counts every real token position.
        signature: Everything else that the counts depend on (model and data hashes, version), as strings.
        means: If recorded, for each layer the (tasks, d_ff) mean activation over all counted positions: summed in
            float32 within a sentence, in float64 over sentences.
        states: If recorded, for each layer the (sentences, ceil(d_ff / 8)) uint8 bits of the neurons that each
            sentence activated, packed as numpy.packbits packs them.
        state_tasks: (sentences,) int64, the index of the task of every row of `states`.

    Raises:
        NeuronspecError: If a task or a layer has a name that it cannot have.
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
        # Names become keys of files, and parts of paths.
        check_names(self.tasks)
        check_layers(self.values)

    def __repr__(self) -> str:
        return f"ActivationCounts({len(self.tasks)} tasks, {len(self.values)} layers, unit {self.unit})"

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(self.values)

    @property
    def widths(self) -> dict[str, int]:
        """Number of neurons of each layer."""
        return {layer: counts.shape[1] for layer, counts in self.values.items()}

    def frequencies(self, layer: str, neurons: slice | None = None) -> torch.Tensor:
        """Return the (tasks, d_ff) float64 shares of sentences, or of tokens, in which each neuron was active.

        Args:
            layer: Name of the layer.
            neurons: Neurons of the layer; by default all.
        """
        # A task without any sentence has frequencies of 0, not of NaN.
        totals = self.totals[stack_of(layer)]
        return self.values[layer][:, neurons or slice(None)] / totals.clamp(min=1).to(torch.float64)[:, None]

    def save(self, directory: Path) -> Path:
        """Write `activation_counts.safetensors` into a directory and return its path.

        Args:
            directory: Directory of the file, created if it does not exist.
        """
        return write_counts(directory, self)

    @classmethod
    def load(cls, source: str | Path) -> ActivationCounts:
        """Read counts from a directory or a file.

        Args:
            source: Path of the directory or of the file.

        Raises:
            NeuronspecError: If the file is missing, damaged, or holds no counts.
        """
        path = COUNTS.path_in(source)
        counts = cls(**read_counts(path))
        counts.check(str(path))
        return counts

    def check(self, what: str = "the counts") -> None:
        """Refuse counts that no counting can lead to, as a model with NaN weights leaves them.

        Args:
            what: Name of the counts in the message.

        Raises:
            NeuronspecError: If a count is negative or not finite, or a mean is not finite.
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
            parts: Counts of the same model, unit and layers, with no task in common.

        Raises:
            NeuronspecError: If they do not belong together.
        """
        _check_parts_of_counts(parts)

        # The rows of the parts, one after the other
        first = parts[0]
        return cls(
            tasks=tuple(task for part in parts for task in part.tasks),
            values=_join_named([part.values for part in parts]),
            totals=_join_named([part.totals for part in parts]),
            unit=first.unit,
            signature=first.signature,
            means=_join_named([part.means for part in parts]),
            states=_join_named([part.states for part in parts]),
            state_tasks=_join_state_tasks(parts),
        )

    def sum_over_processes(self) -> ActivationCounts:
        """Return the sum of the counts of all processes that `accelerate launch` started; on one, these counts.

        Every process must have recorded with the same `tasks`, each its own share of the sentences. The sum of
        integers is exact: it does not depend on how many processes there were (promise R5).

        Raises:
            NeuronspecError: If there are means or states, which are not kept for several processes.
        """
        state = join_processes()
        if state.num_processes == 1:
            return self
        if self.means or self.states:
            raise NeuronspecError("means and states are recorded on one process: launch one, or leave them out")

        values = _sum_named(self.values, state.device)
        totals = _sum_named(self.totals, state.device)

        # The sums are sorted by name; layers stay in their own order.
        return replace(self, values={layer: values[layer] for layer in self.layers}, totals=totals)


def _check_parts_of_counts(parts: Sequence[ActivationCounts]) -> None:
    """Refuse counts that cannot be put together: of different models or settings, or of one task twice."""
    if not parts:
        raise NeuronspecError("there are no counts to put together")

    # One model, counted in one way ...
    first = parts[0]
    for part in parts[1:]:
        if (part.widths, part.unit, part.signature) != (first.widths, first.unit, first.signature):
            raise NeuronspecError(
                f"the counts of {', '.join(part.tasks)} and of {', '.join(first.tasks)} do not belong together: "
                "their layers, widths, unit or signature differ"
            )

    # ... and each task once
    tasks = [task for part in parts for task in part.tasks]
    if len(set(tasks)) < len(tasks):
        raise NeuronspecError(f"a task has counts in more than one part: {', '.join(tasks)}")


def _sum_named(tensors: Mapping[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """Return the sum of tensors over all processes."""
    # Sorted: every process must name the tensors in the same order.
    return {name: reduce(tensors[name].to(device), "sum").cpu() for name in sorted(tensors)}


def _join_named(parts: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the rows of all parts, name by name; nothing if a part has nothing."""
    if not all(parts):
        return {}
    return {name: torch.cat([tensors[name] for tensors in parts]) for name in parts[0]}


def _join_state_tasks(parts: Sequence[ActivationCounts]) -> torch.Tensor | None:
    """Return the index, among the tasks of all parts, of every row of the states; None if a part has none."""
    rows, start = [], 0
    for part in parts:
        if part.state_tasks is None:
            return None
        # The tasks of a part come after those of all parts before it.
        rows.append(part.state_tasks + start)
        start += len(part.tasks)
    return torch.cat(rows)
