"""Masking a model in place: for every row of a batch, only the neurons of its task (paper, Eq. 4)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.masks import SPECIALIZATION, NeuronMasks
from neuronspec.neurons.positions import Positions
from neuronspec.specialization.packing import Packed, PackedLayer

Tasks = torch.Tensor | Sequence[str]


def specialize(
    model: PreTrainedModel, masks: NeuronMasks, *, packed: Packed = "auto", released: bool | None = None
) -> PreTrainedModel:
    """Make a model compute, for every sentence, only the neurons of its task: `FFN(h) = (m * f(h W1 + b1)) W2 + b2`.

    In place and undone by `unspecialize`; no parameter is added, and the state dict keeps its keys. From then on
    the tasks of a batch are given with it: `model(**inputs, tasks=["de-en", "en-fr"])`,
    `model.generate(**inputs, tasks=[...])`, or `with task(model, "de-en"):` for all rows. A masked neuron is
    removed altogether, its bias too, which the released code leaves (docs/paper.md).

    Args:
        model: one in which `find_ffn_layers` finds FFN blocks.
        masks: must have this model's layers and widths.
        packed: whether a batch of one task alone is computed with smaller matrices that hold its neurons only:
            `always`, `never`, or `auto`: where it was measured to be faster (benchmarks/README.md).
        released: mask as the released code does, `FFN(h) = f(m * (h W1) + b1) W2 + b2`: a masked neuron still puts
            out what its bias gives. By default what the masks' signature says (`bias: kept`), else no.

    Returns:
        The same model.

    Raises:
        NeuronspecError: the masks do not fit the model; the first difference is named.
    """
    if not isinstance(masks, NeuronMasks):
        raise NeuronspecError(
            f"specialize takes NeuronMasks, not {type(masks).__name__}: from_pretrained, from_counts ..."
        )
    layers = find_ffn_layers(model)
    check_fit(layers, masks)
    unspecialize(model)
    keeps_bias = masks.keeps_bias if released is None else released
    setattr(model, SPECIALIZATION, _Specialization(model, layers, masks, packed, keeps_bias))
    return model


def unspecialize(model: PreTrainedModel) -> PreTrainedModel:
    """Undo `specialize`; nothing to do for a model that is not specialised."""
    specialization = find_specialization(model)
    if specialization is not None:
        specialization.remove()
        del model.generate  # the instance's; the class's is back
        delattr(model, SPECIALIZATION)
    return model


def get_masks(model: nn.Module) -> NeuronMasks | None:
    """Return the masks of a specialised model, None of any other."""
    specialization = find_specialization(model)
    return specialization.masks if specialization is not None else None


def assign_tasks(model: nn.Module, tasks: Tasks) -> None:
    """Set the task of every row of the next forward passes, where a model's parts are called one by one.

    Args:
        model: nothing happens where it is not specialised.
        tasks: (batch,) names, or numbers into `masks.tasks`.
    """
    specialization = find_specialization(model)
    if specialization is not None:
        specialization.set_rows(tasks)


@contextlib.contextmanager
def task(model: PreTrainedModel, name: str) -> Iterator[PreTrainedModel]:
    """Let every row be of one task.

    Example:
        `with task(model, "de-en"): model.generate(**inputs)`
    """
    specialization = _require(model)
    with specialization.computing(_Rows(default=specialization.masks.task_index(name))):
        yield model


@contextlib.contextmanager
def dense(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """Switch the masks off for a while."""
    with _require(model).computing(_Rows(default=_DENSE)):
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


class _Rows(NamedTuple):
    """Whose rows are computed.

    Args:
        numbers: (batch,) task numbers; None where they are not known.
        single: the one task of all rows, where that is known without waiting for a device.
        default: the task of all rows inside `task`, or `_DENSE` inside `dense`; None outside of both.
    """

    numbers: torch.Tensor | None = None
    single: int | None = None
    default: int | None = None


class _Specialization:
    """The masks of a model, the tasks of the rows at hand, and the hooks that bring them together."""

    def __init__(
        self, model: PreTrainedModel, layers: Sequence[FFNLayer], masks: NeuronMasks, packed: Packed, keeps_bias: bool
    ) -> None:
        self.masks = masks
        self.model = model
        self.layers = layers
        self.positions = Positions(layers)
        # Called with the tasks of every forward that a gradient may come from; None: with every neuron.
        self.listeners: list[Callable[[torch.Tensor | int | None], None]] = []
        self.rows = _Rows()
        self.generating = False
        self._on_device: dict[tuple[str, torch.device], torch.Tensor] = {}
        self._handles = [
            model.register_forward_pre_hook(self._take_tasks, with_kwargs=True),
            model.register_forward_hook(self._forget, always_call=True),
            *self.positions.attach(),
        ]
        if model.base_model is not model:  # it may be called by itself
            self._handles.append(model.base_model.register_forward_pre_hook(self._take_tasks, with_kwargs=True))
        self.keeps_bias = keeps_bias
        self._packed: list[PackedLayer] = []
        for layer in layers:
            if keeps_bias:
                for expansion in layer.expansions:
                    self._handles.append(expansion.register_forward_hook(functools.partial(self._keep_bias, layer)))
                continue
            packed_layer = PackedLayer(layer, masks.layer(layer.name), packed, self)
            packed_layer.attach()
            self._packed.append(packed_layer)
            if layer.activation is not None:  # of gated units: the product is 0 where the gate is
                gate = functools.partial(self._mask_gate, layer, packed_layer)
                self._handles.append(layer.activation.register_forward_hook(gate))
            else:
                hook = functools.partial(self._mask_input, layer, packed_layer)
                self._handles.append(layer.projection.register_forward_pre_hook(hook))
        model.generate = self.generate

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        for layer in self._packed:
            layer.detach()
        _KeepRows.detach(self.model)

    def generate(self, *arguments: Any, tasks: Tasks | None = None, **options: Any) -> Any:
        """The model's `generate`, with `tasks`: the task of every row."""
        with self._rows_for_generation(tasks):
            return type(self.model).generate(self.model, *arguments, **options)

    @property
    def one_task(self) -> int | None:
        """The number of the task that all rows share, where it is known; None also where the masks are off."""
        if self.rows.default is not None:
            return None if self.rows.default == _DENSE else self.rows.default
        return self.rows.single

    def set_rows(self, tasks: Tasks | None) -> None:
        """Set the tasks of the rows that are computed next; None: not known."""
        default = self.rows.default
        known = tasks if default != _DENSE else None  # whatever they are, nothing is masked
        self.rows = _Rows(default=default) if known is None else self._read(known, default)
        _KeepRows.attach(self)

    def _read(self, tasks: Tasks, default: int | None) -> _Rows:
        expected = "tasks must be a list of names, or a tensor of numbers, one for each row"
        if isinstance(tasks, torch.Tensor):
            if tasks.ndim != 1 or tasks.is_floating_point() or tasks.dtype == torch.bool:
                raise NeuronspecError(f"{expected}: found {tasks.dtype} of shape {tuple(tasks.shape)}")
            if tasks.device.type != "cpu":
                return _Rows(tasks, None, default)
            numbers = tasks.tolist()
            last = len(self.masks.tasks) - 1
            if any(not 0 <= number <= last for number in numbers):
                raise NeuronspecError(f"task numbers must be from 0 to {last}: found {numbers}")
        elif isinstance(tasks, str) or not (
            isinstance(tasks, Sequence) and all(isinstance(name, str) for name in tasks)
        ):
            raise NeuronspecError(f"{expected}: found {tasks!r}")
        else:
            numbers = [self.masks.task_index(name) for name in tasks]
            tasks = torch.tensor(numbers)
        if default is not None and set(numbers) != {default}:
            raise NeuronspecError(
                "other tasks were given inside neuronspec.task(...), which gives them already: leave one out"
            )
        return _Rows(tasks, numbers[0] if len(set(numbers)) == 1 else None, default)

    @contextlib.contextmanager
    def computing(self, rows: _Rows) -> Iterator[None]:
        """Let other rows be at hand for a while."""
        before, self.rows = self.rows, rows
        try:
            yield
        finally:
            self.rows = before

    def _mask_input(
        self, layer: FFNLayer, packed: PackedLayer, module: nn.Module, arguments: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...]:
        """Before the second matrix: mask the neurons."""
        return (self._mask(layer, packed, arguments[0]), *arguments[1:])

    def _mask_gate(
        self, layer: FFNLayer, packed: PackedLayer, module: nn.Module, arguments: Any, output: torch.Tensor
    ) -> torch.Tensor:
        """After the gate's activation: mask the neurons."""
        return self._mask(layer, packed, output)

    def _mask(self, layer: FFNLayer, packed: PackedLayer, neurons: torch.Tensor) -> torch.Tensor:
        """Multiply the neurons by the masks of their rows."""
        if packed.active:
            self._tell()
            if self.rows.default is None:
                self._rows_of(layer, neurons)  # refuses tasks that are not one for each row
            return neurons
        masks = self._align(layer, neurons)
        return neurons if masks is None else neurons * masks.to(neurons.dtype)

    def _keep_bias(self, layer: FFNLayer, module: nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        """After a first matrix: leave of a masked neuron its bias alone, as the released code does."""
        masks = self._align(layer, output)
        if masks is None:
            return output
        if output.shape[-1] != layer.width:  # gate and other matrix in one
            masks = torch.cat([masks, masks], dim=-1)
        bias = getattr(module, "bias", None)
        return torch.where(masks, output, output.new_zeros(()) if bias is None else bias)

    def _align(self, layer: FFNLayer, states: torch.Tensor) -> torch.Tensor | None:
        """Return boolean masks that broadcast with the vectors of a layer; None for all neurons."""
        self._tell()
        if self.rows.default == _DENSE:
            return None
        key = (layer.name, states.device)
        if key not in self._on_device:
            self._on_device[key] = self.masks.layer(layer.name).to(states.device)
        masks = self._on_device[key]  # (tasks, d_ff)
        if self.rows.default is not None:
            return masks[self.rows.default]
        rows = self._rows_of(layer, states)
        if states.ndim == 3:
            return masks[rows][None] if layer.time_first else masks[rows][:, None]
        _, seq = self.positions.shapes[layer.stack]
        of_tokens = rows.repeat_interleave(seq)  # (batch * seq,)
        routed = self.positions.tokens(layer, states)
        return masks[of_tokens if routed is None else of_tokens[routed]]

    def _rows_of(self, layer: FFNLayer, states: torch.Tensor) -> torch.Tensor:
        """Return the task number of every row that is computed: in decoding there is a row for every beam."""
        if self.rows.numbers is None:
            raise NeuronspecError(
                "this model is specialised and needs to know the task of every row: pass tasks=[...], "
                "or use neuronspec.task(model, name), or neuronspec.dense(model) for no masks"
            )
        rows = self.rows.numbers.to(states.device)
        batch = states.shape[layer.time_first] if states.ndim == 3 else self.positions.shapes[layer.stack][0]
        beams = batch // max(1, len(rows))
        most = batch if self.generating and layer.stack == "decoder" else 1  # only decoding repeats rows
        if beams * len(rows) != batch or beams > most:
            raise NeuronspecError(f"{len(rows)} tasks were given for {batch} rows: expected one for each row")
        return rows.repeat_interleave(beams)

    def _tell(self) -> None:
        if not self.listeners or not torch.is_grad_enabled():
            return
        default = self.rows.default
        tasks = self.rows.numbers if default is None else default if default != _DENSE else None
        for listener in self.listeners:
            listener(tasks)

    def _take_tasks(self, part: nn.Module, arguments: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Before each forward of the model, or of it without its head: take `tasks` out of its arguments."""
        tasks = options.pop("tasks", None)
        if tasks is not None or (part is self.model and not self.generating):
            self.set_rows(tasks)
        return arguments, options

    def _forget(self, model: nn.Module, arguments: Any, output: Any) -> None:
        """After each forward of the whole model: its tasks are not those of the next."""
        if not self.generating:
            self.rows = _Rows(default=self.rows.default)

    @contextlib.contextmanager
    def _rows_for_generation(self, tasks: Tasks | None) -> Iterator[None]:
        with self.computing(self.rows):
            self.set_rows(tasks)
            self.generating = True
            try:
                yield
            finally:
                self.generating = False
                for layer in self._packed:
                    layer.forget()


class _KeepRows:
    """Gradient checkpointing that computes a layer again for the rows of its forward, whichever are at hand by then."""

    def __init__(self, specialization: _Specialization, checkpoint: Callable[..., Any]) -> None:
        self.specialization = specialization
        self.checkpoint = checkpoint

    def __call__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        now = self.specialization.rows, dict(self.specialization.positions.shapes)
        return self.checkpoint(functools.partial(self._run, *now, function), *arguments, **options)

    def _run(
        self,
        rows: _Rows,
        shapes: dict[str, tuple[int, int]],
        function: Callable[..., Any],
        *arguments: Any,
        **options: Any,
    ) -> Any:
        self.specialization.positions.shapes = dict(shapes)
        with self.specialization.computing(rows):
            return function(*arguments, **options)

    @classmethod
    def attach(cls, specialization: _Specialization) -> None:
        for module in specialization.model.modules():
            checkpoint = module.__dict__.get("_gradient_checkpointing_func")
            if checkpoint is not None and not isinstance(checkpoint, cls):
                module._gradient_checkpointing_func = cls(specialization, checkpoint)

    @classmethod
    def detach(cls, model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(checkpoint := module.__dict__.get("_gradient_checkpointing_func"), cls):
                module._gradient_checkpointing_func = checkpoint.checkpoint  # type: ignore[assignment]


def find_specialization(model: nn.Module) -> _Specialization | None:
    """Return what `specialize` attached to a model, None where it did not."""
    return getattr(model, SPECIALIZATION, None)


def _require(model: nn.Module) -> _Specialization:
    specialization = find_specialization(model)
    if specialization is None:
        raise NeuronspecError("this model is not specialised: call neuronspec.specialize(model, masks) first")
    return specialization
