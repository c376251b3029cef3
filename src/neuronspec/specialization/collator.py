"""A data collator for other training loops, which adds the task of every example to the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.masks import NeuronMasks


class TaskCollator:
    """Adds `tasks` to the batches of another collator, from a column of the examples.

    It is for transformers' `Seq2SeqTrainer` and any other loop that passes batches to a specialized model. The trainer
    drops columns that the model's forward does not name; `remove_unused_columns=False` prevents this.

    Args:
        collator: Collator that makes a batch from the examples without that column.
        masks: Masks of the model; tasks get their numbers from them.
        column: Name of the column with the task of an example.

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
            NeuronspecError: If an example has no such column, or names an unknown task.
        """
        # A trainer may have removed columns that the model's forward method does not name.
        for example in examples:
            if self.column not in example:
                raise NeuronspecError(
                    f"an example has no column {self.column!r}, only {', '.join(example)}: keep it with "
                    "remove_unused_columns=False"
                )

        # The inner collator gets examples as it knows them, without the tasks.
        tasks = [self.masks.task_index(example[self.column]) for example in examples]
        plain = []
        for example in examples:
            plain.append({name: value for name, value in example.items() if name != self.column})
        return {**self.collator(plain), "tasks": torch.tensor(tasks)}
