"""Keeping track of the task of every row of a batch, for the task-specific modules of a model."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.languages import match_direction
from neuronspec.models.peft_wrapping import unwrap_model
from neuronspec.neurons.layers import FFNLayer
from neuronspec.neurons.masks import SPECIALIZATION
from neuronspec.specialization.recomputation import attach_checkpointing, detach_checkpointing

Tasks = torch.Tensor | Sequence[str]
NO_TASK = -1  # instead of a task's number: no task-specific module is used
_EXPECTED_TASKS = "tasks must be a list of names, or a tensor of numbers, one for each row"


class BatchTasks(NamedTuple):
    """The tasks of the rows of a batch.

    Args:
        numbers: (batch,) task numbers; None if they are not known.
        single: Number of the task that all rows share, if that is known without waiting for a device.
        default: Number of the task of all rows inside `task`, or `NO_TASK` inside `dense`; None outside of both.
    """

    numbers: torch.Tensor | None = None
    single: int | None = None
    default: int | None = None


class TaskRouter:
    """Keeps track of the task of every row of a batch for the task-specific modules of a model.

    The base class of everything that makes a model depend on tasks: a subclass hooks the modules whose work depends on
    the task, and calls `row_tasks` there. A model has at most one router.

    Args:
        model: Model to change in place: its forward and `generate` take an argument `tasks`.
        tasks: Names of all tasks that rows can have; the task numbers in batches are their positions.
    """

    layers: Sequence[FFNLayer] | None = None  # set if a search for the FFN layers would find the router's own modules

    def __init__(self, model: PreTrainedModel, tasks: Sequence[str]) -> None:
        unspecialize(model)
        self.model = model
        self.tasks = tuple(tasks)
        self.batch_tasks = BatchTasks()
        self.generating = False
        self.assigned = False  # whether the tasks of the next forward pass were given before it
        self.real_tokens: torch.Tensor | None = None  # (batch, target) boolean, where only those have logits

        # Functions that are called with the tasks of every forward pass with gradients; None if it uses no tasks.
        self.listeners: list[Callable[[torch.Tensor | int | None], None]] = []

        # From now on, every forward pass of the model takes `tasks`, and so does `generate`.
        self.handles: list[RemovableHandle] = [
            model.register_forward_pre_hook(self._take_tasks, with_kwargs=True),
            model.register_forward_hook(self._forget_tasks, always_call=True),
        ]
        if model.base_model is not model:  # it can be called directly
            self.handles.append(model.base_model.register_forward_pre_hook(self._take_tasks, with_kwargs=True))
        model.generate = self.generate
        setattr(model, SPECIALIZATION, self)

    def follow(self) -> None:
        """Find the hooked modules again, in case another library has wrapped them."""

    def remove(self) -> None:
        """Remove everything that was added to the model."""
        for handle in self.handles:
            handle.remove()
        detach_checkpointing(self.model)
        del self.model.generate  # removes the instance's method; that of the class remains
        delattr(self.model, SPECIALIZATION)

    def task_index(self, task: str) -> int:
        """Return the number of a task, in any spelling: `deu_Latn-eng_Latn` finds `de-en`.

        Raises:
            NeuronspecError: If there is no such task; the message lists the known ones.
        """
        found = match_direction(task, self.tasks)
        if found is None:
            raise NeuronspecError(
                f"this model has nothing for the task {task!r}{did_you_mean(task, self.tasks)}; "
                f"known: {', '.join(self.tasks)}"
            )
        return self.tasks.index(found)

    def generate(self, *arguments: Any, tasks: Tasks | None = None, **options: Any) -> Any:
        """Run the model's `generate`; `tasks` are the tasks of all rows."""
        with self._generation(tasks):
            # The method of the class, since the model's own attribute is this function.
            return type(self.model).generate(self.model, *arguments, **options)

    @property
    def single_task(self) -> int | None:
        """Number of the task that all rows share; None if it is not known, and inside `dense`."""
        if self.batch_tasks.default is None:
            return self.batch_tasks.single
        return None if self.batch_tasks.default == NO_TASK else self.batch_tasks.default

    def set_tasks(self, tasks: Tasks | None) -> None:
        """Set the tasks of the next rows; None if they are not known."""
        # Inside `dense`, no row has a task, whatever is given.
        default = self.batch_tasks.default
        if tasks is None or default == NO_TASK:
            self.batch_tasks = BatchTasks(default=default)
        else:
            self.batch_tasks = self._read_tasks(tasks, default)

        # Gradient checkpointing may have been enabled since the last batch.
        attach_checkpointing(self.model, self.snapshot)

    @contextlib.contextmanager
    def use_tasks(self, tasks: BatchTasks) -> Iterator[None]:
        """Use other tasks inside a `with` statement."""
        before, self.batch_tasks = self.batch_tasks, tasks
        try:
            yield
        finally:
            self.batch_tasks = before

    def row_tasks(self, batch: int, stack: str, device: torch.device) -> torch.Tensor:
        """Return the task number of every row in a stack; beam search has a row for each beam.

        Args:
            batch: Number of rows.
            stack: `encoder` or `decoder`.
            device: Device for the result.

        Returns:
            (batch,) int64.

        Raises:
            NeuronspecError: If the tasks are not known, or there is not exactly one for each row.
        """
        if self.batch_tasks.default is not None:
            return torch.full((batch,), self.batch_tasks.default, device=device)

        if self.batch_tasks.numbers is None:
            raise NeuronspecError(
                "this model is specialized and needs to know the task of every row: pass tasks=[...], "
                "or use neuronspec.task(model, name), or neuronspec.dense(model) for no masks"
            )

        tasks = self.batch_tasks.numbers.to(device)
        # The rows of a sentence's beams are next to each other.
        beams = batch // max(1, len(tasks))
        max_beams = batch if self.generating and stack == "decoder" else 1  # only decoding repeats rows
        if beams * len(tasks) != batch or beams > max_beams:
            raise NeuronspecError(f"{len(tasks)} tasks were given for {batch} rows: expected one for each row")
        return tasks if beams == 1 else tasks.repeat_interleave(beams)

    def token_tasks(self, tokens: int, device: torch.device) -> torch.Tensor:
        """Return the task number of every token of a batch whose padding was left out.

        Args:
            tokens: Number of tokens.
            device: Device for the result.

        Returns:
            (tokens,) int64.

        Raises:
            NeuronspecError: If the tasks differ, and it is not known which token is in which row.
        """
        if (single := self.single_task) is not None:
            return torch.full((tokens,), single, device=device)
        if self.real_tokens is None or self.batch_tasks.numbers is None:
            raise NeuronspecError(
                "this model needs to know the task of every token: pass all rows to the model itself, or the positions "
                "of the tokens to assign_tasks"
            )

        rows = self.real_tokens.to(device).nonzero()[:, 0]  # (tokens,)
        return self.batch_tasks.numbers.to(device)[rows]

    def notify(self) -> None:
        """Notify listeners of the tasks of this forward pass, if gradients are enabled."""
        if not self.listeners or not torch.is_grad_enabled():
            return

        # Inside `task`, one number stands for all rows; inside `dense`, no task is used.
        default = self.batch_tasks.default
        tasks: torch.Tensor | int | None = self.batch_tasks.numbers if default is None else default
        if default == NO_TASK:
            tasks = None

        for listener in self.listeners:
            listener(tasks)

    def snapshot(self) -> Callable[[], contextlib.AbstractContextManager[None]]:
        """Return a context manager function that restores the current tasks, to compute a layer again."""
        return functools.partial(self.use_tasks, self.batch_tasks)

    def end_generation(self) -> None:
        """Clear the cache kept for generation."""

    def _read_tasks(self, tasks: Tasks, default: int | None) -> BatchTasks:
        """Return given tasks as numbers, and refuse what is not a task for each row."""
        if isinstance(tasks, torch.Tensor):
            if tasks.ndim != 1 or tasks.is_floating_point() or tasks.dtype == torch.bool:
                raise NeuronspecError(f"{_EXPECTED_TASKS}: found {tasks.dtype} of shape {tuple(tasks.shape)}")
            if tasks.device.type != "cpu":  # reading them would wait for the device
                return BatchTasks(numbers=tasks, default=default)
            numbers = tasks.tolist()
            self._check_numbers(numbers)
        else:
            numbers = self._number_names(tasks)
            tasks = torch.tensor(numbers)

        # Inside `task`, rows can have this task only.
        if default is not None and set(numbers) != {default}:
            raise NeuronspecError(
                "other tasks were given inside neuronspec.task(...), which gives them already: leave one out"
            )
        single = numbers[0] if len(set(numbers)) == 1 else None
        return BatchTasks(numbers=tasks, single=single, default=default)

    def _number_names(self, tasks: Sequence[str]) -> list[int]:
        """Return the numbers of tasks that are given by their names."""
        is_list = isinstance(tasks, Sequence) and not isinstance(tasks, str)
        if not is_list or not all(isinstance(name, str) for name in tasks):
            raise NeuronspecError(f"{_EXPECTED_TASKS}: found {tasks!r}")
        return [self.task_index(name) for name in tasks]

    def _check_numbers(self, numbers: Sequence[int]) -> None:
        last = len(self.tasks) - 1
        if any(not 0 <= number <= last for number in numbers):
            raise NeuronspecError(f"task numbers must be from 0 to {last}: found {numbers}")

    def _take_tasks(self, module: nn.Module, arguments: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Before each forward pass of the model, or of its base model: take `tasks` out of the arguments."""
        self.follow()
        tasks = options.pop("tasks", None)
        # Steps of a generation, and parts of a pass whose tasks are known, keep the tasks they have.
        if tasks is not None or (module is self.model and not self.generating and not self.assigned):
            self.set_tasks(tasks)
        self.assigned = False
        return arguments, options

    def _forget_tasks(self, model: nn.Module, arguments: Any, output: Any) -> None:
        """After each forward pass of the whole model: the next one has other tasks."""
        if not self.generating:
            self.batch_tasks = BatchTasks(default=self.batch_tasks.default)

    @contextlib.contextmanager
    def _generation(self, tasks: Tasks | None) -> Iterator[None]:
        with self.use_tasks(self.batch_tasks):
            self.set_tasks(tasks)
            self.generating = True
            try:
                yield
            finally:
                self.generating = False
                self.end_generation()


def find_router(model: nn.Module) -> TaskRouter | None:
    """Return the router of a model; None if nothing in the model depends on tasks."""
    return getattr(unwrap_model(model), SPECIALIZATION, None)


def unspecialize(model: PreTrainedModel) -> PreTrainedModel:
    """Remove everything task-specific from a model, such as masks or adapters, and return the model.

    A model that is not specialized stays as it is.
    """
    router = find_router(model)
    if router is not None:
        router.remove()
    return model


def assign_tasks(model: nn.Module, tasks: Tasks, real: torch.Tensor | None = None) -> None:
    """Set the task of every row of the next forward pass, of the model or of its parts one by one.

    Args:
        model: Model; if it is not specialized, nothing happens.
        tasks: (batch,) names, or numbers into the model's tasks.
        real: (batch, target) boolean, True at the tokens whose logits are computed, if not all are.
    """
    router = find_router(model)
    if router is not None:
        router.set_tasks(tasks)
        router.real_tokens = real
        router.assigned = True


@contextlib.contextmanager
def task(model: PreTrainedModel, name: str) -> Iterator[PreTrainedModel]:
    """Use one task for every row, inside a `with` statement.

    Args:
        model: Specialized model.
        name: Name of the task.

    Raises:
        NeuronspecError: If the model is not specialized, or has no such task.

    Example:
        `with task(model, "de-en"): model.generate(**inputs)`
    """
    router = _require_router(model)
    with router.use_tasks(BatchTasks(default=router.task_index(name))):
        yield model


@contextlib.contextmanager
def dense(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """Switch off masks, adapters and everything else task-specific, inside a `with` statement.

    Raises:
        NeuronspecError: If the model is not specialized.
    """
    with _require_router(model).use_tasks(BatchTasks(default=NO_TASK)):
        yield model


def _require_router(model: PreTrainedModel) -> TaskRouter:
    router = find_router(model)
    if router is None:
        raise NeuronspecError("this model is not specialized: call neuronspec.specialize(model, masks) first")
    return router
