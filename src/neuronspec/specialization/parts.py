"""Parts of a model that belong to some tasks, such as adapters: which rows go through which part, and their files.

A part is a set of modules or tensors for one stack. Each task has one part in the encoder and one in the decoder;
tasks may share them. An unseen direction x-y takes the encoder's part of x-pivot and the decoder's of pivot-y, as
zero-shot masks do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.files import publish
from neuronspec.specialization.routing import DENSE, Router

Owners = Mapping[str, Sequence[int]]  # stack -> the number of each task's part


class PartRouter(Router):
    """Sends each row through the part of its task; the base of what adds modules to a model.

    Args:
        model: changed in place.
        tasks: that rows may have.
        owners: for `encoder` and `decoder`, the number of the part of each task.
    """

    def __init__(self, model: PreTrainedModel, tasks: Sequence[str], owners: Owners) -> None:
        super().__init__(model, tasks)
        self.owners = {stack: list(numbers) for stack, numbers in owners.items()}

    def groups(self, states: torch.Tensor, stack: str) -> Iterator[tuple[int, torch.Tensor | slice]]:
        """Yield each part that rows of a stack go through, with the rows: their numbers, or a slice for all of them.

        Rows inside `dense` go through none.

        Args:
            states: (batch, ...), whose first dimension counts the rows.
            stack: `encoder` or `decoder`.
        """
        self.tell()
        if self.rows.default == DENSE:
            return
        if (single := self.one_task) is not None:
            self.rows_of(len(states), stack, states.device)  # refuses tasks that are not one for each row
            yield self.owners[stack][single], slice(None)
            return
        tasks = self.rows_of(len(states), stack, states.device)
        parts = torch.tensor(self.owners[stack], device=states.device)[tasks]  # (batch,)
        for part in sorted({*parts.tolist()}):
            yield part, (parts == part).nonzero()[:, 0]

    def add_zero_shot(self, directions: Sequence[str], pivot: str) -> None:
        """Let rows have directions that were not trained: x-y takes the parts of x-pivot and pivot-y.

        Raises:
            NeuronspecError: one of those tasks is not known.
        """
        for direction in directions:
            if direction not in self.tasks:
                source, target = _split(direction, self.tasks, pivot)
                self.owners["encoder"].append(self.owners["encoder"][self.task_index(source)])
                self.owners["decoder"].append(self.owners["decoder"][self.task_index(target)])
                self.tasks = (*self.tasks, direction)


def save_parts(path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Publish tensors and what they are about, JSON values, as one safetensors file."""
    with publish(path) as temporary:
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(kept, temporary, {"neuronspec": json.dumps(about, ensure_ascii=False)})


def load_parts(path: Path, *keys: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a file that `save_parts` wrote.

    Args:
        path: the file.
        keys: that what it is about must have.

    Returns:
        The tensors by name, and what they are about.

    Raises:
        NeuronspecError: the file is missing, damaged, or not of this kind.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["neuronspec"])
            if missing := [key for key in keys if key not in about]:
                raise ValueError(f"it says nothing of {missing[0]}")
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise NeuronspecError(f"cannot read {path}: {first_line(error)}") from error


def _split(direction: str, tasks: Sequence[str], pivot: str) -> tuple[str, str]:
    """Return the trained tasks that an unseen direction is made of."""
    heard = [task for task in tasks if task.endswith(f"-{pivot}")]
    for task in heard:
        source = task.removesuffix(f"-{pivot}")
        if direction.startswith(f"{source}-") and f"{pivot}-{direction.removeprefix(f'{source}-')}" in tasks:
            return task, f"{pivot}-{direction.removeprefix(f'{source}-')}"
    source, _, target = direction.partition("-")
    return f"{source}-{pivot}", f"{pivot}-{target}"
