"""Masking a model in place: every row of a batch uses only the neurons of its task (paper, Eq. 4)."""

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
from neuronspec.languages import match_direction
from neuronspec.models.additions import list_bounds, read_additions
from neuronspec.models.peft_wrapping import unwrap_model
from neuronspec.neurons.architectures import Architecture
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.layers import FFNLayer, find_architecture, locate_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.positions import Positions
from neuronspec.specialization.grown_layer import GrownLayer
from neuronspec.specialization.grown_output import GrownOutput
from neuronspec.specialization.packing import Packed, PackedLayer
from neuronspec.specialization.routing import NO_TASK, BatchTasks, TaskRouter, find_router, unspecialize


def specialize(
    model: PreTrainedModel, masks: NeuronMasks, *, packed: Packed = "auto", released: bool | None = None
) -> PreTrainedModel:
    """Make a model compute, for every sentence, only the neurons of its task: `FFN(h) = (m * f(h W1 + b1)) W2 + b2`.

    The model is changed in place, which `unspecialize` undoes. No parameter is added, and the state dict keeps its
    keys. From then on, the tasks of a batch are given with it: `model(**inputs, tasks=["de-en", "en-fr"])`,
    `model.generate(**inputs, tasks=[...])`, or `with task(model, "de-en"):` for all rows. A masked neuron is removed
    completely, including its bias, which the released code keeps (docs/paper.md).

    Args:
        model: Model in which `find_ffn_layers` finds FFN blocks.
        masks: Masks with the layers and widths of the model.
        packed: When to compute a batch of a single task with smaller matrices that hold its neurons only: `always`,
            `never`, or `auto`, if that was measured to be faster (benchmarks/README.md).
        released: Whether to mask like the released code, `FFN(h) = f(m * (h W1) + b1) W2 + b2`: the bias of a masked
            neuron still produces output. By default this follows the masks' signature (`bias: kept`).

    Returns:
        The same model.

    Raises:
        NeuronspecError: If the masks do not fit the model; the message names the first difference.
    """
    if not isinstance(masks, NeuronMasks):
        raise NeuronspecError(
            f"specialize takes NeuronMasks, not {type(masks).__name__}: from_pretrained, from_counts ..."
        )

    # A model that already has task-specific modules knows where its own layers are.
    base: Any = unwrap_model(model)
    router = find_router(base)
    architecture = getattr(router, "architecture", None) or find_architecture(base)
    layers = locate_layers(base, architecture)
    check_fit(layers, masks)

    # Nothing has changed so far, in case the masks do not fit.
    unspecialize(base)
    Specialization(
        base,
        masks,
        architecture=architecture,
        layers=layers,
        packed=packed,
        keeps_bias=masks.keeps_bias if released is None else released,
    )
    return model


def attach_masks(model: PreTrainedModel, masks: NeuronMasks, unseen: Sequence[str] = (), pivot: str = "en") -> None:
    """Specialize a model with masks, including composed masks for unseen directions.

    Args:
        model: Model to specialize; changed in place.
        masks: Masks of the trained tasks.
        unseen: Directions x-y without masks: each takes the encoder masks of x-pivot and the decoder masks of pivot-y.
        pivot: Language that the trained tasks have in common.

    Raises:
        NeuronspecError: If the masks do not fit the model, or an unseen direction cannot be composed of them.
    """
    # Directions that were trained keep masks of their own.
    unseen = [task for task in unseen if match_direction(task, masks.tasks) is None]
    if unseen:
        masks = NeuronMasks.concatenate([masks, masks.zero_shot(unseen, pivot)])
    specialize(model, masks)


def get_masks(model: nn.Module) -> NeuronMasks | None:
    """Return the masks of a specialized model, or None for any other model."""
    specialization = find_specialization(model)
    return specialization.masks if specialization is not None else None


def find_specialization(model: nn.Module) -> Specialization | None:
    """Return the router that applies the masks of a model; None if it has no masks."""
    router = find_router(model)
    return router if isinstance(router, Specialization) else None


def check_fit(layers: Sequence[FFNLayer], neurons: NeuronMasks | ActivationCounts, what: str = "the masks") -> None:
    """Refuse masks, or counts, that do not fit the layers of a model.

    Args:
        layers: Layers of the model.
        neurons: Masks or counts.
        what: Name of them, for the message.

    Raises:
        NeuronspecError: If layers or widths differ.
    """
    # The same layers, and then the same widths
    widths = {layer.name: layer.width for layer in layers}
    if widths.keys() != neurons.widths.keys():
        raise NeuronspecError(
            f"{what} have the layers {', '.join(neurons.layers)}; the model has {', '.join(widths)}: "
            "they belong to another architecture"
        )

    for name, width in widths.items():
        if neurons.widths[name] != width:
            raise NeuronspecError(
                f"{what} have {neurons.widths[name]} neurons in {name}, the model has {width}: "
                "they belong to another model"
            )


class Specialization(TaskRouter):
    """Applies the masks of a model to every row of a batch, according to its task.

    Args:
        model: Model to change in place.
        masks: Masks that fit the model.
        architecture: Description of where the FFN layers of the model are.
        layers: FFN layers of the model.
        packed: When to compute a batch of a single task with smaller matrices.
        keeps_bias: Whether masked neurons keep the output of their bias, as in the released code.
    """

    layers: Sequence[FFNLayer]

    def __init__(
        self,
        model: PreTrainedModel,
        masks: NeuronMasks,
        *,
        architecture: Architecture,
        layers: Sequence[FFNLayer],
        packed: Packed,
        keeps_bias: bool,
    ) -> None:
        super().__init__(model, masks.tasks)
        self.masks = masks
        self.architecture = architecture
        self.packed = packed
        self.keeps_bias = keeps_bias
        self.additions = read_additions(model.config)
        self._check_additions()
        self._on_device: dict[tuple[str, torch.device], torch.Tensor] = {}  # for each layer, (tasks, d_ff)
        self._packed: list[PackedLayer] = []
        self._hooks: list[RemovableHandle] = []  # on the modules of the layers
        self._output: GrownOutput | None = None

        self._attach(layers)
        self._attach_output()
        # Experts see tokens without rows; the shapes of the stacks give back the row of each token.
        self.positions = Positions(layers)
        self.handles += self.positions.attach()

    def follow(self) -> None:
        """Hook the modules that have replaced the matrices, if another library has wrapped them.

        PEFT replaces matrices by modules with adapters of their own. The neurons are masked before they enter such a
        module, so that no adapter sees a masked neuron.
        """
        replaced = any(getattr(parent, name) is not module for parent, name, module in self._hooked)
        if replaced:
            self._detach()
            self._attach(locate_layers(self.model, self.architecture))

    def _attach(self, layers: Sequence[FFNLayer]) -> None:
        """Hook the modules of the layers."""
        self.layers = layers
        self._hooked = [entry for layer in layers for entry in find_parents(layer)]
        for layer in layers:
            # A copy of a hooked matrix, as PEFT makes them, has brought its hooks along.
            for module in (layer.entrance, *layer.exits):
                _clear_copied_hooks(module)

            # The released code masks h W1 before the bias is added, Eq. 4 the neurons after their activation.
            if self.keeps_bias:
                self._hook_exits(layer)
            else:
                self._hook_neurons(layer)

    def _hook_exits(self, layer: FFNLayer) -> None:
        for module in layer.exits:
            hook = functools.partial(self._keep_bias, layer)
            self._hooks.append(module.register_forward_hook(hook))

    def _hook_neurons(self, layer: FFNLayer) -> None:
        packed_layer = self._make_packed(layer)
        packed_layer.attach()
        self._packed.append(packed_layer)

        if layer.activation is not None:  # a gated unit: its product is 0 if the gate is
            gate = functools.partial(self._mask_gate, layer, packed_layer)
            self._hooks.append(layer.activation.register_forward_hook(gate))
        else:
            pre_hook = functools.partial(self._mask_input, layer, packed_layer)
            self._hooks.append(layer.entrance.register_forward_pre_hook(pre_hook))

    def _make_packed(self, layer: FFNLayer) -> PackedLayer:
        """Return what can compute a layer with smaller matrices; of one that has grown, in parts."""
        masks = self.masks.layer(layer.name)
        before = [addition.widths[layer.name] for addition in self.additions]
        bounds = list_bounds(before, layer.width)
        if len(bounds) == 1:
            return PackedLayer(layer, masks, packed=self.packed, task_source=self)

        return GrownLayer(
            layer, masks, packed=self.packed, task_source=self, bounds=bounds, find_tasks=self._find_layer_tasks
        )

    def _attach_output(self) -> None:
        """Limit the tokens that each task can write, if some were added after it."""
        output: Any = self.model.get_output_embeddings()
        if self.additions and self.additions[0].vocabulary < len(output.weight):
            self._output = GrownOutput(output, self.additions, self.masks.tasks, self._find_output_tasks)
            self.handles.append(self.model.register_forward_hook(self._cut_logits))

    def _cut_logits(self, model: nn.Module, arguments: Any, output: Any) -> None:
        """After each step of a generation: leave out the tokens that no row can write."""
        if self.generating and self._output is not None:
            output.logits = self._output.cut(output.logits)

    def _check_additions(self) -> None:
        """Refuse what cannot keep the tasks from before as they were."""
        if self.additions and self.keeps_bias:
            raise NeuronspecError(
                "these masks keep the bias of a masked neuron (`bias: kept`), so that neurons of an added language "
                "would reach the other tasks: specialize with released=False"
            )

    def _detach(self) -> None:
        for handle in self._hooks:
            handle.remove()
        for layer in self._packed:
            layer.detach()

        self._hooks.clear()
        self._packed.clear()

    def remove(self) -> None:
        """Remove the masks."""
        super().remove()
        self._detach()
        if self._output is not None:
            self._output.detach()

    def task_index(self, task: str) -> int:
        """Return the row of a task in the masks."""
        return self.masks.task_index(task)

    def end_generation(self) -> None:
        """Clear the smaller matrices that were kept for generation."""
        for layer in self._packed:
            layer.forget()

    def snapshot(self) -> Callable[[], contextlib.AbstractContextManager[None]]:
        """Return a context manager function that restores the current tasks, and the shapes of the stacks."""
        return functools.partial(self._restored, self.batch_tasks, dict(self.positions.shapes))

    @contextlib.contextmanager
    def _restored(self, tasks: BatchTasks, shapes: dict[str, tuple[int, int]]) -> Iterator[None]:
        self.positions.shapes = dict(shapes)
        with self.use_tasks(tasks):
            yield

    def _mask_input(
        self, layer: FFNLayer, packed: PackedLayer, module: nn.Module, arguments: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...]:
        """Before the second matrix: mask its input."""
        return (self._mask(layer, packed, arguments[0]), *arguments[1:])

    def _mask_gate(
        self, layer: FFNLayer, packed: PackedLayer, module: nn.Module, arguments: Any, output: torch.Tensor
    ) -> torch.Tensor:
        """After the gate's activation: mask its output."""
        return self._mask(layer, packed, output)

    def _mask(self, layer: FFNLayer, packed: PackedLayer, neurons: torch.Tensor) -> torch.Tensor:
        """Multiply the neurons by the masks of their rows."""
        if packed.active:  # the masked ones were left out
            self.notify()
            if self.batch_tasks.default is None:
                self._row_tasks(layer, neurons)  # raises unless there is one task for each row
            return neurons

        # All neurons were computed: those that the row's task does not use become 0.
        masks = self._align(layer, neurons)
        if masks is None:
            return neurons
        # A layer that has grown may have computed only the neurons from before.
        # The product with a boolean has the type of the neurons.
        return neurons * masks[..., : neurons.shape[-1]]

    def _keep_bias(self, layer: FFNLayer, module: nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        """After a first matrix: reduce the output of masked neurons to their bias, as the released code does."""
        masks = self._align(layer, output)
        if masks is None:
            return output

        if output.shape[-1] != layer.width:  # gate and other matrix in one
            masks = torch.cat([masks, masks], dim=-1)

        bias = getattr(module, "bias", None)
        return torch.where(masks, output, output.new_zeros(()) if bias is None else bias)

    def _align(self, layer: FFNLayer, states: torch.Tensor) -> torch.Tensor | None:
        """Return boolean masks that broadcast with the vectors of a layer; None if all neurons are used."""
        self.notify()
        if self.batch_tasks.default == NO_TASK:
            return None

        # The masks are moved to each device once.
        key = (layer.name, states.device)
        if key not in self._on_device:
            self._on_device[key] = self.masks.layer(layer.name).to(states.device)
        masks = self._on_device[key]  # (tasks, d_ff)
        if self.batch_tasks.default is not None:
            return masks[self.batch_tasks.default]  # (d_ff,)

        tasks = self.positions.spread(self._row_tasks(layer, states), layer, states)
        return masks[tasks]  # (1, batch, d_ff) or (batch, 1, d_ff) for all positions, or (tokens, d_ff)

    def _find_layer_tasks(self, layer: FFNLayer, states: torch.Tensor) -> torch.Tensor | None:
        """Return the task number of every row of a layer's vectors; None if all neurons are used."""
        self.notify()
        return None if self.batch_tasks.default == NO_TASK else self._row_tasks(layer, states)

    def _find_output_tasks(self, states: torch.Tensor) -> torch.Tensor | None:
        """Return the task number of every row of the output layer's input; None if no task is used."""
        if self.batch_tasks.default == NO_TASK:
            return None
        if states.ndim == 3:
            return self.row_tasks(len(states), "decoder", states.device)
        return self.token_tasks(len(states), states.device)

    def _row_tasks(self, layer: FFNLayer, states: torch.Tensor) -> torch.Tensor:
        """Return the task number of every row of a layer's vectors."""
        return self.row_tasks(self.positions.count_rows(layer, states), layer.stack, states.device)


def find_parents(layer: FFNLayer) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Yield the parents of the hooked modules of a layer, the names of the modules in them, and the modules."""
    hooked = {id(module) for module in (layer.entrance, *layer.exits)}
    for parent in layer.block.modules():
        for name, child in parent.named_children():
            if id(child) in hooked:
                yield parent, name, child


def _clear_copied_hooks(copied: nn.Module) -> None:
    """Remove our hooks from a module that is a copy of a specialized matrix: only its own model knows the tasks.

    PEFT trains copies of whole matrices (`modules_to_save`), which include the hooks.
    """
    for module in copied.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            ours = [number for number, hook in hooks.items() if _is_ours(hook)]
            for number in ours:
                del hooks[number]
        if _is_ours(module.__dict__.get("forward")):
            del module.forward


def _is_ours(function: Any) -> bool:
    """Return whether a function is a bound method of a specialization."""
    if not isinstance(function, functools.partial):
        return False
    owner = getattr(function.func, "__self__", None)
    return isinstance(owner, Specialization | PackedLayer | GrownOutput)
