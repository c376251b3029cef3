"""Losses on the validation text: of every task, and their gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

from neuronspec.data.batches import IGNORED, BatchDataset, Tensors
from neuronspec.training.objective import token_losses


def validate_tasks(
    model: PreTrainedModel, valid: BatchDataset, accelerator: Accelerator | None, tokens_per_batch: int
) -> dict[str, float]:
    """Return the negative log-likelihood per target token of each task, and of all tokens together as `all`.

    Args:
        model: Model to measure; in evaluation mode afterwards.
        valid: Examples of all tasks.
        accelerator: Accelerator that divides the batches among processes; None to measure in this process alone.
        tokens_per_batch: Maximum number of tokens in a batch, with padding.

    Returns:
        Nats per token, by task.
    """
    model.eval()
    count = len(valid.tasks)
    device = model.device if accelerator is None else accelerator.device
    # Of n processes, each measures every n-th batch.
    first, step = (0, 1) if accelerator is None else (accelerator.process_index, accelerator.num_processes)

    sums = torch.zeros(2, count, dtype=torch.float64, device=device)  # losses, tokens
    for batch in itertools.islice(valid.in_order(tokens_per_batch), first, None, step):
        on_device = move_batch(batch, device)
        losses, tokens = token_losses(model, on_device)
        sums[0].index_add_(0, on_device["tasks"], losses)
        sums[1].index_add_(0, on_device["tasks"], tokens.double())

    # Together, these are the sums of all processes.
    losses, tokens = (sums if accelerator is None else accelerator.reduce(sums, "sum")).cpu()
    # A task without validation text has no loss.
    by_task = {}
    for number, task in enumerate(valid.tasks):
        if tokens[number]:
            by_task[task.name] = float(losses[number] / tokens[number])
    return by_task | {"all": float(losses.sum() / tokens.sum())}


def iterate_task_gradients(
    objective: Callable[[Tensors], torch.Tensor],
    parameters: Iterable[torch.Tensor],
    valid: BatchDataset,
    accelerator: Accelerator,
    tokens_per_batch: int,
) -> Iterator[int]:
    """Yield the number of each task, while the parameters hold the gradient of its mean validation loss.

    Args:
        objective: Function that returns the summed loss of a batch, without data parallelism.
        parameters: Parameters whose gradients are computed.
        valid: Examples of all tasks.
        accelerator: Accelerator that divides the batches among processes.
        tokens_per_batch: Maximum number of tokens in a batch, with padding.
    """
    trained = list(parameters)
    for number in range(len(valid.tasks)):
        # The gradient of one task's summed loss ...
        for parameter in trained:
            parameter.grad = None

        tokens = 0
        for place, batch in enumerate(valid.in_order(tokens_per_batch, number)):
            # Every process counts the tokens of all.
            tokens += int((batch["labels"] != IGNORED).sum())
            # Not through DDP: each process adds up the gradients of its batches, and the sums are added up below.
            if place % accelerator.num_processes == accelerator.process_index:
                accelerator.backward(objective(move_batch(batch, accelerator.device)))

        # ... of all processes, per target token.
        for parameter in trained:
            # A process without a batch of this task takes part in the sum with zeros.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad = accelerator.reduce(parameter.grad, "sum") / max(1, tokens)
        yield number


def move_batch(batch: Tensors, device: torch.device) -> Tensors:
    """Return a batch on a device."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
