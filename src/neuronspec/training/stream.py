"""The batches of every update: drawn in an order that only the seed and the update decide (promise R2)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from accelerate import Accelerator
from torch.utils.data import DataLoader

from neuronspec.data.batches import BatchDataset, Tensors, locate_real_tokens
from neuronspec.data.sampling import Batch, BatchSampler, Cursor


class UpdateBatches(NamedTuple):
    """The batches of one update.

    Args:
        batches: This process's batches.
        tokens: Number of target tokens in the batches of all processes.
        cursor: Position in the data after this update.
    """

    batches: list[Tensors]
    tokens: int
    cursor: Cursor


class _Plan(NamedTuple):
    """A planned update: this process's batches as numbers of examples, the tokens of all processes, and the cursor."""

    drawn: list[Batch]
    tokens: int
    cursor: Cursor


# A data loader prefetches: its workers build batches of later updates while the model computes. So the plan of the
# updates is read twice, ahead of the model by the loader, and in step with it by `stream_updates`:
#
#     plan:      draw `batches_per_update` batches, keep every n-th for this process      (endless, cheap)
#     loader:    ahead of the model, tensors of the plan's batches, one after the other   (in worker processes)
#     updates:   for each update of the plan, take as many tensors from the loader as it has batches
#
# `itertools.tee` keeps the plans between the two. Nothing but the cursor needs to be saved: what was prefetched for
# updates that never happened is drawn again.


def stream_updates(
    dataset: BatchDataset,
    sampler: BatchSampler,
    cursor: Cursor,
    *,
    batches_per_update: int,
    accelerator: Accelerator,
    workers: int | None,
) -> Iterator[UpdateBatches]:
    """Yield the batches of every update, without end.

    Args:
        dataset: Examples of all tasks.
        sampler: Sampler that draws the batches.
        cursor: Position in the data from which to start.
        batches_per_update: Number of batches of an update, in all processes together.
        accelerator: Accelerator that says which process this is.
        workers: Number of processes that build batches, 0 for none; by default one for a GPU, which would wait for them
            otherwise, and none for a CPU, which does all work anyway.
    """
    plans = _plan_updates(sampler, cursor, batches_per_update=batches_per_update, accelerator=accelerator)
    ahead, in_step = itertools.tee(plans)
    on_gpu = accelerator.device.type == "cuda"

    # The sampler yields whole batches: `batch_size=None` leaves them whole. Memory is pinned where a GPU reads it, so
    # that copying a batch waits for nothing.
    loader = DataLoader(
        dataset,
        sampler=_FlatSampler(ahead),
        batch_size=None,
        num_workers=int(on_gpu) if workers is None else workers,
        collate_fn=locate_real_tokens,
        pin_memory=on_gpu,
    )

    tensors = iter(loader)
    for plan in in_step:
        yield UpdateBatches([next(tensors) for _ in plan.drawn], plan.tokens, plan.cursor)


def _plan_updates(
    sampler: BatchSampler, cursor: Cursor, *, batches_per_update: int, accelerator: Accelerator
) -> Iterator[_Plan]:
    drawn_batches = sampler.batches(cursor)
    while True:
        # Every process draws the whole update, and thus knows its tokens without asking the others.
        drawn, cursors = zip(*itertools.islice(drawn_batches, batches_per_update), strict=True)
        tokens = sum(_count_target_tokens(sampler, batch) for batch in drawn)
        own = list(drawn[accelerator.process_index :: accelerator.num_processes])
        yield _Plan(own, tokens, cursors[-1])


def _count_target_tokens(sampler: BatchSampler, batch: Batch) -> int:
    # The lengths are (examples, 2): source and target.
    examples = zip(batch.tasks, batch.examples, strict=True)
    return sum(int(sampler.lengths[task][example, 1]) for task, example in examples)


class _FlatSampler:
    """The batches of all plans one after the other, as the sampler of a `DataLoader`."""

    def __init__(self, plans: Iterator[_Plan]) -> None:
        self.plans = plans

    def __iter__(self) -> Iterator[Batch]:
        for plan in self.plans:
            yield from plan.drawn
