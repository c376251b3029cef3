"""Masking a model in place: for every row of a batch, only the neurons of its task (paper, Eq. 4)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.models.peft_wrapping import unwrap_model
from neuronspec.neurons.architectures import Architecture
from neuronspec.neurons.layers import FFNLayer, find_architecture, locate_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.positions import Positions
from neuronspec.specialization.packing import Packed, PackedLayer
from neuronspec.specialization.routing import DENSE, Router, Rows, find_router, unspecialize


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
    base: Any = unwrap_model(model)
    router = find_router(base)
    architecture = getattr(router, "architecture", None) or find_architecture(base)
    layers = locate_layers(base, architecture)
    check_fit(layers, masks)
    unspecialize(base)
    keeps_bias = masks.keeps_bias if released is None else released
    Specialization(base, architecture, layers, masks, packed, keeps_bias)
    return model


def get_masks(model: nn.Module) -> NeuronMasks | None:
    """Return the masks of a specialised model, None of any other."""
    specialization = find_specialization(model)
    return specialization.masks if specialization is not None else None


def find_specialization(model: nn.Module) -> Specialization | None:
    """Return the masks of a model and what applies them, None where it has none."""
    router = find_router(model)
    return router if isinstance(router, Specialization) else None


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


class Specialization(Router):
    """The masks of a model, and the hooks that bring them together with the tasks of the rows at hand."""

    layers: Sequence[FFNLayer]

    def __init__(
        self,
        model: PreTrainedModel,
        architecture: Architecture,
        layers: Sequence[FFNLayer],
        masks: NeuronMasks,
        packed: Packed,
        keeps_bias: bool,
    ) -> None:
        super().__init__(model, masks.tasks)
        self.masks = masks
        self.architecture = architecture
        self.packed = packed
        self.keeps_bias = keeps_bias
        self._on_device: dict[tuple[str, torch.device], torch.Tensor] = {}
        self._packed: list[PackedLayer] = []
        self._hooks: list[RemovableHandle] = []  # on the parts of the layers
        self._attach(layers)
        self.positions = Positions(layers)
        self.handles += self.positions.attach()

    def follow(self) -> None:
        """Hook what now stands at the places of the matrices, where another library has put something around them.

        PEFT replaces matrices by modules with adapters of their own. The neurons are masked before they enter
        whatever stands there, so that no adapter sees a masked one.
        """
        if not self._handed_over(self.layers):
            return
        self._detach()
        self._attach(locate_layers(self.model, self.architecture))

    def _handed_over(self, layers: Sequence[FFNLayer]) -> bool:
        """Return whether something else stands at the place of a part by now."""
        return any(getattr(holder, name) is not part for holder, name, part in self._places)

    def _attach(self, layers: Sequence[FFNLayer]) -> None:
        """Hook the parts of the layers."""
        self.layers = layers
        self._places = [place for layer in layers for place in _find_places(layer)]
        for layer in layers:
            for part in (layer.entrance, *layer.exits):
                _clear_copies(part)
            if self.keeps_bias:
                for part in layer.exits:
                    self._hooks.append(part.register_forward_hook(functools.partial(self._keep_bias, layer)))
                continue
            packed_layer = PackedLayer(layer, self.masks.layer(layer.name), self.packed, self)
            packed_layer.attach()
            self._packed.append(packed_layer)
            if layer.activation is not None:  # of gated units: the product is 0 where the gate is
                gate = functools.partial(self._mask_gate, layer, packed_layer)
                self._hooks.append(layer.activation.register_forward_hook(gate))
            else:
                hook = functools.partial(self._mask_input, layer, packed_layer)
                self._hooks.append(layer.entrance.register_forward_pre_hook(hook))

    def _detach(self) -> None:
        for handle in self._hooks:
            handle.remove()
        for layer in self._packed:
            layer.detach()
        self._hooks.clear()
        self._packed.clear()

    def remove(self) -> None:
        """Take the masks off."""
        super().remove()
        self._detach()

    def task_index(self, task: str) -> int:
        """Return the row of a task in the masks."""
        return self.masks.task_index(task)

    def end_generation(self) -> None:
        """Let the smaller matrices go."""
        for layer in self._packed:
            layer.forget()

    def snapshot(self) -> Callable[[], contextlib.AbstractContextManager[None]]:
        """Return what brings the rows at hand, and the shapes of the stacks, back for a while."""
        return functools.partial(self._restored, self.rows, dict(self.positions.shapes))

    @contextlib.contextmanager
    def _restored(self, rows: Rows, shapes: dict[str, tuple[int, int]]) -> Iterator[None]:
        self.positions.shapes = dict(shapes)
        with self.computing(rows):
            yield

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
            self.tell()
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
        self.tell()
        if self.rows.default == DENSE:
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
        """Return the task number of every row of a layer's vectors."""
        batch = states.shape[layer.time_first] if states.ndim == 3 else self.positions.shapes[layer.stack][0]
        return self.rows_of(batch, layer.stack, states.device)


def _find_places(layer: FFNLayer) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Yield what holds the parts of a layer, their names in it, and the parts."""
    parts = {id(part) for part in (layer.entrance, *layer.exits)}
    for holder in layer.block.modules():
        for name, child in holder.named_children():
            if id(child) in parts:
                yield holder, name, child


def _clear_copies(part: nn.Module) -> None:
    """Take off a part what a copy of a specialised matrix has kept of the masks: only its own model knows the tasks.

    PEFT trains copies of whole matrices (`modules_to_save`), hooks and all.
    """
    for module in part.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for number in [number for number, hook in hooks.items() if _is_ours(hook)]:
                del hooks[number]
        if _is_ours(module.__dict__.get("forward")):
            del module.forward


def _is_ours(function: Any) -> bool:
    of = getattr(function.func, "__self__", None) if isinstance(function, functools.partial) else None
    return isinstance(of, Specialization | PackedLayer)
