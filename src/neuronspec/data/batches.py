"""From token sequences to padded tensors: tags, labels, and the task of every row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from neuronspec.data.sampling import Batch, cut_by_tokens
from neuronspec.data.store import TokenStore

IGNORED = -100  # the label that no loss counts
EVERYTHING = slice(None)  # of a text

Ids = Sequence[int] | NDArray[np.integer]
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class TaskFormat:
    """How the sequences of one task are dressed for the model.

    The encoder reads `source_prefix x eos`; the decoder reads `start target_prefix y` and must say
    `target_prefix y eos` (the tag is a target too, as in the released code: facts about it are in docs/paper.md).
    """

    source_prefix: tuple[int, ...]
    target_prefix: tuple[int, ...]
    start: int
    eos: int
    pad: int

    def source(self, ids: Ids) -> list[int]:
        """Return the encoder's input."""
        return [*self.source_prefix, *ids, self.eos]

    def decoder_input(self, ids: Ids = ()) -> list[int]:
        """Return the decoder's input; without `ids`, what decoding starts from."""
        return [self.start, *self.target_prefix, *ids]

    def labels(self, ids: Ids) -> list[int]:
        """Return what the decoder must say."""
        return [*self.target_prefix, *ids, self.eos]

    @property
    def overhead(self) -> tuple[int, int]:
        """Tokens that are added to a source and to a target sequence."""
        return len(self.source_prefix) + 1, len(self.target_prefix) + 1


def special_ids(formats: Iterable[TaskFormat], kinds: Collection[str]) -> list[int]:
    """Return the ids of the tokens that these formats add.

    Args:
        formats: of some tasks.
        kinds: any of `tags` and `end_of_sentence` (which the decoder also starts with, in most models).
    """
    found: set[int] = set()
    for form in formats:
        found |= {*form.source_prefix, *form.target_prefix} if "tags" in kinds else set()
        found |= {form.start, form.eos} if "end_of_sentence" in kinds else set()
    return sorted(found)


@dataclass(frozen=True)
class TaskData:
    """The examples of one task: a pair of the store, read in one of its two directions."""

    name: str
    pair: str
    source_side: int
    format: TaskFormat


class BatchDataset(Dataset[Tensors]):
    """Builds the tensors of a batch; indexed by `Batch`, so that a `DataLoader` can build them in its workers.

    Args:
        store: the token store.
        tasks: in the order of the numbers in `Batch.tasks`.
    """

    def __init__(self, store: TokenStore, tasks: Sequence[TaskData]) -> None:
        self.store = store
        self.tasks = list(tasks)

    def lengths(self) -> list[NDArray[np.int32]]:
        """Return, for each task, the (pairs, 2) tokens of source and target, tags and end of sentence included."""
        return [
            self.store.lengths(task.pair)[:, [task.source_side, 1 - task.source_side]]
            + np.array(task.format.overhead, dtype=np.int32)
            for task in self.tasks
        ]

    def __getitem__(self, batch: Batch) -> Tensors:
        """Return the tensors of `batch`: see `collate`."""
        rows = []
        for number, example in zip(batch.tasks.tolist(), batch.examples.tolist(), strict=True):
            task = self.tasks[number]
            source = self.store.sequence(task.pair, task.source_side, example)
            target = self.store.sequence(task.pair, 1 - task.source_side, example)
            rows.append((number, task.format, source, target))
        return collate(rows)

    def in_order(self, tokens_per_batch: int, task: int | None = None, part: slice = EVERYTHING) -> Iterator[Tensors]:
        """Yield every example once, task by task, by length: for validation and for recording.

        Args:
            tokens_per_batch: the most padded tokens of a batch on either side; a longer example comes alone.
            task: the number of the only task to yield.
            part: of the examples of each task, in the order of its text.
        """
        for number, lengths in enumerate(self.lengths()):
            if task not in (None, number):
                continue
            widths = lengths.max(axis=1)
            examples = np.arange(len(lengths))[part]
            examples = examples[np.argsort(widths[examples], kind="stable")]
            for rows in cut_by_tokens(examples, widths[examples].tolist(), tokens_per_batch):
                yield self[Batch(np.full(len(rows), number), rows)]


def pad(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Return the rows as one int64 tensor (rows, longest), filled up with `value` on the right.

    Example:
        >>> pad([[1, 2], [3]], 0).tolist()
        [[1, 2], [3, 0]]
    """
    padded = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return torch.from_numpy(padded)


def collate(rows: Sequence[tuple[int, TaskFormat, Ids, Ids]]) -> Tensors:
    """Return one padded batch.

    Args:
        rows: (task number, format, source ids, target ids) of each sentence pair, without tags.

    Returns:
        `input_ids`, `attention_mask` (batch, source), `decoder_input_ids`, `decoder_attention_mask`, `labels`
        (batch, target; labels padded with -100) and `tasks` (batch,) task numbers, all int64.
    """
    padding = rows[0][1].pad
    sources = [form.source(source) for _, form, source, _ in rows]
    targets = [form.labels(target) for _, form, _, target in rows]
    return {
        "input_ids": pad(sources, padding),
        "attention_mask": pad([[1] * len(source) for source in sources], 0),
        "decoder_input_ids": pad([form.decoder_input(target) for _, form, _, target in rows], padding),
        "decoder_attention_mask": pad([[1] * len(target) for target in targets], 0),
        "labels": pad(targets, IGNORED),
        "tasks": torch.tensor([number for number, *_ in rows]),
    }
