"""Batches: from token sequences to padded tensors with tags, labels, and the task of every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from neuronspec.data.sampling import Batch, cut_by_tokens
from neuronspec.data.store import TokenStore
from neuronspec.data.task_format import Ids, TaskFormat

IGNORED = -100
"""Label that the loss ignores."""
REAL_TOKENS = "real_tokens"
"""Name of the positions of the real target tokens in a batch."""
EVERYTHING = slice(None)  # all examples of a text

Tensors = dict[str, torch.Tensor]
"""The tensors of a batch, by name."""


@dataclass(frozen=True)
class TaskData:
    """The examples of one task: a pair of languages in the store, read in one of its two directions.

    Attributes:
        name: Name of the task.
        pair: Pair of languages in the store.
        source_side: Side (0 or 1) that is the source.
        format: Tokens around the text of the task.
    """

    name: str
    pair: str
    source_side: int
    format: TaskFormat


class BatchDataset(Dataset[Tensors]):
    """Builds the tensors of a batch; indexed by `Batch`, so that a `DataLoader` can build them in its workers.

    Args:
        store: Token store.
        tasks: Tasks, in the order of the numbers in `Batch.tasks`.
        skips_too_long: Whether `in_order` leaves out examples that are longer than the model can read; otherwise they
            are cut.
    """

    def __init__(self, store: TokenStore, tasks: Sequence[TaskData], *, skips_too_long: bool = False) -> None:
        self.store = store
        self.tasks = list(tasks)
        self.skips_too_long = skips_too_long

    def lengths(self) -> list[NDArray[np.int32]]:
        """Return the lengths of source and target in tokens, including tags and end of sentence, (pairs, 2) each."""
        return [self._measure(task) for task in self.tasks]

    def find_too_long(self) -> list[NDArray[np.bool_]]:
        """Return which pairs are longer than the model can read on either side, for each task (pairs,)."""
        return [_find_exceeding(task.format, self._measure(task)) for task in self.tasks]

    def limit(self, max_tokens: int) -> int:
        """Return the greatest length of a training example on a side: `max_tokens`, or less if the model reads less."""
        limits = [max_tokens]
        for task in self.tasks:
            longest = (task.format.longest_source, task.format.longest_target)
            # A limit of None means that the model reads text of any length.
            limits += [limit for limit in longest if limit is not None]
        return min(limits)

    def __getitem__(self, batch: Batch) -> Tensors:
        """Return the tensors of `batch`: see `collate`."""
        rows = []
        for number, example in zip(batch.tasks.tolist(), batch.examples.tolist(), strict=True):
            task = self.tasks[number]

            # Each side as what it is in this direction: some tokenizers encode targets in another way.
            source = self.store.sequence(task.pair, task.source_side, example)
            target = self.store.sequence(task.pair, 1 - task.source_side, example, as_target=True)
            rows.append((number, task.format, source, target))
        return collate(rows)

    def in_order(self, tokens_per_batch: int, task: int | None = None, part: slice = EVERYTHING) -> Iterator[Tensors]:
        """Yield every example once, task by task, by length: for validation and for recording.

        Args:
            tokens_per_batch: Greatest number of padded tokens of a batch on either side; a longer example comes alone.
            task: Number of the only task to yield.
            part: Slice of the examples of each task, in the order of its text.
        """
        for number, data in enumerate(self.tasks):
            if task not in (None, number):
                continue

            lengths = self._measure(data)  # (pairs, 2)
            widths = lengths.max(axis=1)  # (pairs,)

            # The examples of this part that the model can read, from the shortest to the longest.
            examples = np.arange(len(lengths))[part]
            if self.skips_too_long:
                examples = examples[~_find_exceeding(data.format, lengths)[examples]]

            # Neighbors of one length need little padding; stable, so that ties stay in order.
            examples = examples[np.argsort(widths[examples], kind="stable")]
            for rows in cut_by_tokens(examples, widths[examples].tolist(), tokens_per_batch):
                yield self[Batch(np.full(len(rows), number), rows)]

    def _measure(self, task: TaskData) -> NDArray[np.int32]:
        """Return the number of tokens of source and target of a task, (pairs, 2), with those that its format adds."""
        text = self.store.lengths(task.pair, task.source_side)
        return text + np.array(task.format.overhead, dtype=np.int32)


def _find_exceeding(form: TaskFormat, lengths: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which pairs are longer than the model can read on either side, given their lengths (pairs, 2)."""
    exceeds = np.zeros(len(lengths), dtype=np.bool_)  # (pairs,)
    for side, limit in enumerate((form.longest_source, form.longest_target)):
        if limit is not None:
            exceeds |= lengths[:, side] > limit
    return exceeds


def locate_real_tokens(batch: Any) -> Tensors:
    """Return a batch with the positions of its real target tokens, so that a GPU need not be asked for them.

    Args:
        batch: Result of `collate`, on the CPU.

    Returns:
        The batch with `real_tokens`: (real tokens,) positions in the flattened (batch * target) labels, int64.
    """
    positions = (batch["labels"] != IGNORED).flatten().nonzero()[:, 0]
    return {**batch, REAL_TOKENS: positions}


def pad(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Return the rows as one int64 tensor (rows, longest), filled up with `value` on the right.

    Example:
        >>> pad([[1, 2], [3]], 0).tolist()
        [[1, 2], [3, 0]]
    """
    padded = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)  # (rows, longest)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return torch.from_numpy(padded)


def collate(rows: Sequence[tuple[int, TaskFormat, Ids, Ids]]) -> Tensors:
    """Return one padded batch.

    Args:
        rows: Task number, format, source ids and target ids of each sentence pair, without tags.

    Returns:
        `input_ids`, `attention_mask` (batch, source), `decoder_input_ids`, `decoder_attention_mask`, `labels`
        (batch, target; labels padded with -100) and `tasks` (batch,) task numbers, all int64.
    """
    # All tasks share one vocabulary, and so the ids for padding.
    first = rows[0][1]
    target_padding = first.pad if first.target_pad is None else first.target_pad

    # Each side with the tags of its task
    sources = [form.source(source) for _, form, source, _ in rows]
    targets = [form.labels(target) for _, form, _, target in rows]
    decoder_inputs = [form.decoder_input(target) for _, form, _, target in rows]

    return {
        "input_ids": pad(sources, first.pad),
        "attention_mask": pad([[1] * len(source) for source in sources], 0),
        "decoder_input_ids": pad(decoder_inputs, target_padding),
        "decoder_attention_mask": pad([[1] * len(target) for target in targets], 0),
        "labels": pad(targets, IGNORED),
        "tasks": torch.tensor([number for number, *_ in rows]),
    }
