"""Masking a model in place: for every row of a batch, only the neurons of its task (paper, Eq. 4)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks

Tasks = torch.Tensor | Sequence[str]
_ATTRIBUTE = "_neuron_specialization"


def specialize(model: PreTrainedModel, masks: NeuronMasks) -> PreTrainedModel:
    """Make a model compute, for every sentence, only the neurons of its task: `FFN(h) = (m * f(h W1 + b1)) W2 + b2`.

    In place and undone by `unspecialize`; no parameter is added, and the state dict keeps its keys. From then on
    the tasks of a batch are given with it: `model(**inputs, tasks=["de-en", "en-fr"])`,
    `model.generate(**inputs, tasks=[...])`, or `with task(model, "de-en"):` for all rows. A masked neuron is
    removed altogether, its bias too, which the released code leaves (docs/paper.md).

    Args:
        model: of a registered architecture.
        masks: must have this model's layers and widths.

    Returns:
        The same model.

    Raises:
        NeuronspecError: the masks do not fit the model; the first difference is named.
    """
    layers = find_ffn_layers(model)
    check_fit(layers, masks)
    unspecialize(model)
    setattr(model, _ATTRIBUTE, _Specialization(model, layers, masks))
    return model


def unspecialize(model: PreTrainedModel) -> PreTrainedModel:
    """Undo `specialize`; nothing to do for a model that is not specialised."""
    specialization = _find(model)
    if specialization is not None:
        specialization.remove()
        del model.generate  # the instance's; the class's is back
        delattr(model, _ATTRIBUTE)
    return model


def get_masks(model: nn.Module) -> NeuronMasks | None:
    """Return the masks of a specialised model, None of any other."""
    specialization = _find(model)
    return specialization.masks if specialization is not None else None


def assign_tasks(model: nn.Module, tasks: Tasks) -> None:
    """Set the task of every row of the next forward passes, where a model's parts are called one by one.

    Args:
        model: nothing happens where it is not specialised.
        tasks: (batch,) names, or numbers into `masks.tasks`.
    """
    specialization = _find(model)
    if specialization is not None:
        specialization.rows = specialization.numbers(tasks)


@contextlib.contextmanager
def task(model: PreTrainedModel, name: str) -> Iterator[PreTrainedModel]:
    """Let every row be of one task.

    Example:
        `with task(model, "de-en"): model.generate(**inputs)`
    """
    specialization = _require(model)
    with specialization.default(specialization.masks.task_index(name)):
        yield model


@contextlib.contextmanager
def dense(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """Switch the masks off for a while."""
    with _require(model).default(_DENSE):
        yield model


def check_fit(layers: Sequence[FFNLayer], masks: NeuronMasks) -> None:
    """Refuse masks that are not of a model.

    Raises:
        NeuronspecError: layers or widths differ.
    """
    widths = {layer.name: layer.width for layer in layers}
    if widths.keys() != masks.widths.keys():
        raise NeuronspecError(
            f"the masks have the layers {', '.join(masks.layers)}; the model has {', '.join(widths)}: "
            "they belong to another architecture"
        )
    for name, width in widths.items():
        if masks.widths[name] != width:
            raise NeuronspecError(
                f"the masks have {masks.widths[name]} neurons in {name}, the model has {width}: "
                "they belong to another model"
            )


_DENSE = -1


class _Specialization:
    """The masks of a model, the tasks of the rows at hand, and the hooks that bring them together."""

    def __init__(self, model: PreTrainedModel, layers: Sequence[FFNLayer], masks: NeuronMasks) -> None:
        self.masks = masks
        self.model = model
        self.rows: torch.Tensor | None = None  # (batch,) task numbers of the rows that are computed
        self._default: int | None = None
        self._generating = False
        self._on_device: dict[tuple[str, torch.device, torch.dtype], torch.Tensor] = {}
        self._handles = [model.register_forward_pre_hook(self._take_tasks, with_kwargs=True)]
        self._handles += [layer.projection.register_forward_pre_hook(_LayerMask(self, layer.name)) for layer in layers]
        model.generate = self.generate

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def generate(self, *arguments: Any, tasks: Tasks | None = None, **options: Any) -> Any:
        """The model's `generate`, with `tasks`: the task of every row."""
        with self._rows_for_generation(tasks):
            return type(self.model).generate(self.model, *arguments, **options)

    def numbers(self, tasks: Tasks) -> torch.Tensor:
        if self._default not in (None, _DENSE):
            raise NeuronspecError(
                "tasks were given inside neuronspec.task(...), which gives them already: leave one out"
            )
        if isinstance(tasks, torch.Tensor):
            last = len(self.masks.tasks) - 1
            # Only on the CPU, where looking costs nothing: a GPU would have to be waited for.
            if tasks.device.type == "cpu" and ((tasks < 0) | (tasks > last)).any():
                raise NeuronspecError(f"task numbers must be from 0 to {last}: found {tasks.tolist()}")
            return tasks
        if isinstance(tasks, str):
            raise NeuronspecError(f"tasks must name one task for each row: give a list, not {tasks!r}")
        return torch.tensor([self.masks.task_index(name) for name in tasks])

    @contextlib.contextmanager
    def default(self, number: int) -> Iterator[None]:
        before, self._default = self._default, number
        rows, self.rows = self.rows, None
        try:
            yield
        finally:
            self._default, self.rows = before, rows

    def select(self, layer: str, neurons: torch.Tensor) -> torch.Tensor | None:
        """Return the masks (batch, 1, d_ff) or (d_ff,) for `neurons` (batch, seq, d_ff); None for all neurons."""
        if self._default == _DENSE:
            return None
        key = (layer, neurons.device, neurons.dtype)
        if key not in self._on_device:
            self._on_device[key] = self.masks.layer(layer).to(neurons.device, neurons.dtype)
        masks = self._on_device[key]  # (tasks, d_ff)
        if self._default is not None:
            return masks[self._default]
        if self.rows is None:
            raise NeuronspecError(
                "this model is specialised and needs to know the task of every row: pass tasks=[...], "
                "or use neuronspec.task(model, name), or neuronspec.dense(model) for no masks"
            )
        rows = self.rows.to(neurons.device)
        beams = len(neurons) // max(1, len(rows))
        most = len(neurons) if self._generating and layer.startswith("decoder") else 1  # only decoding repeats rows
        if beams * len(rows) != len(neurons) or beams > most:
            raise NeuronspecError(f"{len(rows)} tasks were given for {len(neurons)} rows: expected one for each row")
        return masks[rows.repeat_interleave(beams)][:, None]

    def _take_tasks(self, model: nn.Module, arguments: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Before each forward of the whole model: take `tasks` out of its arguments."""
        tasks = options.pop("tasks", None)
        if tasks is not None:
            self.rows = self.numbers(tasks)
        elif not self._generating:
            self.rows = None
        return arguments, options

    @contextlib.contextmanager
    def _rows_for_generation(self, tasks: Tasks | None) -> Iterator[None]:
        before = self.rows
        self.rows = self.numbers(tasks) if tasks is not None else None
        self._generating = True
        try:
            yield
        finally:
            self._generating = False
            self.rows = before


class _LayerMask:
    """The hook of one layer: multiplies the neurons by the masks of their rows."""

    def __init__(self, specialization: _Specialization, layer: str) -> None:
        self.specialization = specialization
        self.layer = layer

    def __call__(self, module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        masks = self.specialization.select(self.layer, arguments[0])
        return None if masks is None else (arguments[0] * masks, *arguments[1:])


def _find(model: nn.Module) -> _Specialization | None:
    return getattr(model, _ATTRIBUTE, None)


def _require(model: nn.Module) -> _Specialization:
    specialization = _find(model)
    if specialization is None:
        raise NeuronspecError("this model is not specialised: call neuronspec.specialize(model, masks) first")
    return specialization
