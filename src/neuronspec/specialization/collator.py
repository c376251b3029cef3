"""Tasks for other training loops: a collator that hands the task of every example on to the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.masks import NeuronMasks


class TaskCollator:
    """Adds `tasks` to the batches of another collator, from a column of the examples.

    For transformers' `Seq2SeqTrainer` and any other loop that passes a batch on to a specialised model. The trainer
    drops columns that the model's forward does not name: give it `remove_unused_columns=False`.

    Args:
        collator: makes a batch of the examples without that column.
        masks: the model's; their tasks are numbered in their order.
        column: the examples' column that names the task.

    Example:
        >>> masks = NeuronMasks.from_dict({"de-en": {"encoder.0": [1, 0]}, "sv-en": {"encoder.0": [0, 1]}})
        >>> collate = TaskCollator(lambda rows: {"input_ids": torch.tensor([row["input_ids"] for row in rows])}, masks)
        >>> collate([{"input_ids": [5], "task": "sv-en"}, {"input_ids": [7], "task": "de-en"}])["tasks"].tolist()
        [1, 0]
    """

    def __init__(
        self, collator: Callable[[list[dict[str, Any]]], Mapping[str, Any]], masks: NeuronMasks, column: str = "task"
    ) -> None:
        self.collator = collator
        self.masks = masks
        self.column = column

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the batch, with `tasks` (batch,) int64.

        Raises:
            NeuronspecError: an example has no such column, or names an unknown task.
        """
        for example in examples:
            if self.column not in example:
                raise NeuronspecError(
                    f"an example has no column {self.column!r}, only {', '.join(example)}: keep it with "
                    "remove_unused_columns=False"
                )
        tasks = torch.tensor([self.masks.task_index(example[self.column]) for example in examples])
        plain = [{name: value for name, value in example.items() if name != self.column} for example in examples]
        return {**self.collator(plain), "tasks": tasks}
