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
