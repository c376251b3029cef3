"""Gradient checkpointing of task-specific models: a layer is recomputed with the tasks of its forward pass."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from torch import nn

UseTasks = Callable[[], AbstractContextManager[None]]


class TaskCheckpointing:
    """Replaces a module's gradient checkpointing function.

    Checkpointing runs the forward pass of a layer again during the backward pass. By then the model may have been given
    the tasks of another batch, so that those of the first forward pass have to be restored.

    Args:
        snapshot: Function that returns a context manager, which restores the tasks of the current batch.
        checkpoint: The module's original checkpointing function.
    """

    def __init__(self, snapshot: Callable[[], UseTasks], checkpoint: Callable[..., Any]) -> None:
        self.snapshot = snapshot
        self.checkpoint = checkpoint

    def __call__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Run a function now, and again in the backward pass, each time with the current tasks."""
        # The snapshot is taken in the forward pass, when the tasks are still those of this batch.
        recomputed = functools.partial(self._run, self.snapshot(), function)
        return self.checkpoint(recomputed, *arguments, **options)

    def _run(self, use_tasks: UseTasks, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with use_tasks():
            return function(*arguments, **options)


def attach_checkpointing(model: nn.Module, snapshot: Callable[[], UseTasks]) -> None:
    """Replace the checkpointing function of every module that has one, unless it was replaced before."""
    for module in model.modules():
        # Where gradient checkpointing is enabled, transformers sets this attribute.
        checkpoint = module.__dict__.get("_gradient_checkpointing_func")
        if checkpoint is not None and not isinstance(checkpoint, TaskCheckpointing):
            module._gradient_checkpointing_func = TaskCheckpointing(snapshot, checkpoint)  # type: ignore[assignment]


def detach_checkpointing(model: nn.Module) -> None:
    """Restore the original checkpointing functions."""
    for module in model.modules():
        replaced = module.__dict__.get("_gradient_checkpointing_func")
        if isinstance(replaced, TaskCheckpointing):
            module._gradient_checkpointing_func = replaced.checkpoint  # type: ignore[assignment]
