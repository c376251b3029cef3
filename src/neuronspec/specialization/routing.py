"""Which task each row has: told with every forward, and known to the parts of a model that differ from task to task."""

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

Tasks = torch.Tensor | Sequence[str]
DENSE = -1  # in place of a task's number: without any task's parts


class Rows(NamedTuple):
    """Whose rows are computed.

    Args:
        numbers: (batch,) task numbers; None where they are not known.
        single: the one task of all rows, where that is known without waiting for a device.
        default: the task of all rows inside `task`, or `DENSE` inside `dense`; None outside of both.
    """

    numbers: torch.Tensor | None = None
    single: int | None = None
    default: int | None = None


class Router:
    """Takes the tasks of a model's forwards, so that its parts can ask for them; the base of what is task-specific.

    A subclass hooks the modules whose work depends on the task, and asks `rows_of` there. A model has one router.

    Args:
        model: changed in place: its forward and `generate` take `tasks`.
        tasks: that rows may have; numbers in batches count them.
    """

    layers: Sequence[FFNLayer] | None = None  # of a model in which a search would run into the router's parts

    def __init__(self, model: PreTrainedModel, tasks: Sequence[str]) -> None:
        unspecialize(model)
        self.model = model
        self.tasks = tuple(tasks)
        self.rows = Rows()
        self.generating = False
        self.assigned = False  # whether the tasks of the next forward were given before it
        # Called with the tasks of every forward that a gradient may come from; None: without any task's parts.
        self.listeners: list[Callable[[torch.Tensor | int | None], None]] = []
        self.handles: list[RemovableHandle] = [
            model.register_forward_pre_hook(self._take_tasks, with_kwargs=True),
            model.register_forward_hook(self._forget, always_call=True),
        ]
        if model.base_model is not model:  # it may be called by itself
            self.handles.append(model.base_model.register_forward_pre_hook(self._take_tasks, with_kwargs=True))
        model.generate = self.generate
        setattr(model, SPECIALIZATION, self)

    def follow(self) -> None:
        """Look again where the parts are that are hooked: another library may have put something around them."""

    def remove(self) -> None:
        """Take everything off the model again."""
        for handle in self.handles:
            handle.remove()
        _KeepRows.detach(self.model)
        del self.model.generate  # the instance's; the class's is back
        delattr(self.model, SPECIALIZATION)

    def task_index(self, task: str) -> int:
        """Return the number of a task: `deu_Latn-eng_Latn` finds `de-en`.

        Raises:
            NeuronspecError: there is no such task; the known ones are named.
        """
        found = match_direction(task, self.tasks)
        if found is None:
            raise NeuronspecError(
                f"this model has nothing for the task {task!r}{did_you_mean(task, self.tasks)}; "
                f"known: {', '.join(self.tasks)}"
            )
        return self.tasks.index(found)

    def generate(self, *arguments: Any, tasks: Tasks | None = None, **options: Any) -> Any:
        """The model's `generate`, with `tasks`: the task of every row."""
        with self._rows_for_generation(tasks):
            return type(self.model).generate(self.model, *arguments, **options)

    @property
    def one_task(self) -> int | None:
        """The number of the task that all rows share, where it is known; None also inside `dense`."""
        if self.rows.default is not None:
            return None if self.rows.default == DENSE else self.rows.default
        return self.rows.single

    def set_rows(self, tasks: Tasks | None) -> None:
        """Set the tasks of the rows that are computed next; None: not known."""
        default = self.rows.default
        known = tasks if default != DENSE else None  # whatever they are, they are not asked for
        self.rows = Rows(default=default) if known is None else self._read(known, default)
        _KeepRows.attach(self)

    @contextlib.contextmanager
    def computing(self, rows: Rows) -> Iterator[None]:
        """Let other rows be at hand for a while."""
        before, self.rows = self.rows, rows
        try:
            yield
        finally:
            self.rows = before

    def rows_of(self, batch: int, stack: str, device: torch.device) -> torch.Tensor:
        """Return the task number of every row that a stack computes: in decoding there is a row for every beam.

        Args:
            batch: the rows that are computed.
            stack: `encoder` or `decoder`.
            device: where the numbers are needed.

        Returns:
            (batch,) int64.

        Raises:
            NeuronspecError: the tasks are not known, or not one for each row.
        """
        if self.rows.default is not None:
            return torch.full((batch,), self.rows.default, device=device)
        if self.rows.numbers is None:
            raise NeuronspecError(
                "this model is specialised and needs to know the task of every row: pass tasks=[...], "
                "or use neuronspec.task(model, name), or neuronspec.dense(model) for no masks"
            )
        rows = self.rows.numbers.to(device)
        beams = batch // max(1, len(rows))
        most = batch if self.generating and stack == "decoder" else 1  # only decoding repeats rows
        if beams * len(rows) != batch or beams > most:
            raise NeuronspecError(f"{len(rows)} tasks were given for {batch} rows: expected one for each row")
        return rows.repeat_interleave(beams)

    def tell(self) -> None:
        """Tell the listeners of the rows that are computed, where a gradient may come from it."""
        if not self.listeners or not torch.is_grad_enabled():
            return
        default = self.rows.default
        tasks = self.rows.numbers if default is None else default if default != DENSE else None
        for listener in self.listeners:
            listener(tasks)

    def snapshot(self) -> Callable[[], contextlib.AbstractContextManager[None]]:
        """Return what brings the rows at hand back for a while, to compute a layer once more for its gradient."""
        return functools.partial(self.computing, self.rows)

    def end_generation(self) -> None:
        """Let go of what was kept while generating."""

    def _read(self, tasks: Tasks, default: int | None) -> Rows:
        expected = "tasks must be a list of names, or a tensor of numbers, one for each row"
        if isinstance(tasks, torch.Tensor):
            if tasks.ndim != 1 or tasks.is_floating_point() or tasks.dtype == torch.bool:
                raise NeuronspecError(f"{expected}: found {tasks.dtype} of shape {tuple(tasks.shape)}")
            if tasks.device.type != "cpu":
                return Rows(tasks, None, default)
            numbers = tasks.tolist()
            last = len(self.tasks) - 1
            if any(not 0 <= number <= last for number in numbers):
                raise NeuronspecError(f"task numbers must be from 0 to {last}: found {numbers}")
        elif isinstance(tasks, str) or not (
            isinstance(tasks, Sequence) and all(isinstance(name, str) for name in tasks)
        ):
            raise NeuronspecError(f"{expected}: found {tasks!r}")
        else:
            numbers = [self.task_index(name) for name in tasks]
            tasks = torch.tensor(numbers)
        if default is not None and set(numbers) != {default}:
            raise NeuronspecError(
                "other tasks were given inside neuronspec.task(...), which gives them already: leave one out"
            )
        return Rows(tasks, numbers[0] if len(set(numbers)) == 1 else None, default)

    def _take_tasks(self, part: nn.Module, arguments: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Before each forward of the model, or of it without its head: take `tasks` out of its arguments."""
        self.follow()
        tasks = options.pop("tasks", None)
        if tasks is not None or (part is self.model and not self.generating and not self.assigned):
            self.set_rows(tasks)
        self.assigned = False
        return arguments, options

    def _forget(self, model: nn.Module, arguments: Any, output: Any) -> None:
        """After each forward of the whole model: its tasks are not those of the next."""
        if not self.generating:
            self.rows = Rows(default=self.rows.default)

    @contextlib.contextmanager
    def _rows_for_generation(self, tasks: Tasks | None) -> Iterator[None]:
        with self.computing(self.rows):
            self.set_rows(tasks)
            self.generating = True
            try:
                yield
            finally:
                self.generating = False
                self.end_generation()


class _KeepRows:
    """Gradient checkpointing that computes a layer again for the rows of its forward, whichever are at hand by then."""

    def __init__(self, router: Router, checkpoint: Callable[..., Any]) -> None:
        self.router = router
        self.checkpoint = checkpoint

    def __call__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return self.checkpoint(functools.partial(self._run, self.router.snapshot(), function), *arguments, **options)

    def _run(
        self,
        rows: Callable[[], contextlib.AbstractContextManager[None]],
        function: Callable[..., Any],
        *arguments: Any,
        **options: Any,
    ) -> Any:
        with rows():
            return function(*arguments, **options)

    @classmethod
    def attach(cls, router: Router) -> None:
        for module in router.model.modules():
            checkpoint = module.__dict__.get("_gradient_checkpointing_func")
            if checkpoint is not None and not isinstance(checkpoint, cls):
                module._gradient_checkpointing_func = cls(router, checkpoint)

    @classmethod
    def detach(cls, model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(checkpoint := module.__dict__.get("_gradient_checkpointing_func"), cls):
                module._gradient_checkpointing_func = checkpoint.checkpoint  # type: ignore[assignment]


def find_router(model: nn.Module) -> Router | None:
    """Return what knows the tasks of a model's rows, None where nothing in it depends on them."""
    return getattr(unwrap_model(model), SPECIALIZATION, None)


def unspecialize(model: PreTrainedModel) -> PreTrainedModel:
    """Take off a model what depends on tasks: masks, adapters; nothing to do for one that is not specialised."""
    router = find_router(model)
    if router is not None:
        router.remove()
    return model


def assign_tasks(model: nn.Module, tasks: Tasks) -> None:
    """Set the task of every row of the next forward pass, of the model or of its parts one by one.

    Args:
        model: nothing happens where it is not specialised.
        tasks: (batch,) names, or numbers into its tasks.
    """
    router = find_router(model)
    if router is not None:
        router.set_rows(tasks)
        router.assigned = True


@contextlib.contextmanager
def task(model: PreTrainedModel, name: str) -> Iterator[PreTrainedModel]:
    """Let every row be of one task.

    Example:
        `with task(model, "de-en"): model.generate(**inputs)`
    """
    router = _require(model)
    with router.computing(Rows(default=router.task_index(name))):
        yield model


@contextlib.contextmanager
def dense(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """Switch off for a while what depends on tasks: the masks, the adapters."""
    with _require(model).computing(Rows(default=DENSE)):
        yield model


def _require(model: PreTrainedModel) -> Router:
    router = find_router(model)
    if router is None:
        raise NeuronspecError("this model is not specialised: call neuronspec.specialize(model, masks) first")
    return router
