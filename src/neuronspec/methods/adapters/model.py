"""Adapters: small bottleneck modules in the layers of a model, one set for each task or group of tasks.

The module is that of Bapna and Firat (2019): `x + Up(ReLU(Down(LN(x))))`. `Up` starts at zero, so that a model with
new adapters computes exactly what it did before.

The paper (A.2.3, A.2.4) does not state where the adapters are; its parameter counts need two in every layer. Here they
are as in Houlsby et al. (2019), on the output of a sub-layer, before dropout and the residual: one after the last
attention (in a decoder, the cross-attention), one after the FFN. Every architecture ends both sub-layers with a matrix
that can be hooked, and the residual path stays that of the backbone, pre-norm or post-norm.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from neuronspec.artifacts.container import Container
from neuronspec.config.sections import Decay, Section
from neuronspec.errors import NeuronspecError
from neuronspec.methods.parts import PartRouter
from neuronspec.models.matrices import WeightMatrix, features_out, is_matrix
from neuronspec.models.peft_wrapping import refuse_wrapped
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers

ADAPTERS_FILE = "adapters.safetensors"
_ATTENTION_ENDS = ("out_proj", "o", "o_proj")  # names of the matrix that ends an attention
Names = Annotated[list[str], Field(min_length=1)]


class AdapterSettings(Section):
    """Adapter settings: the sets of adapters, and which task uses which set."""

    tasks: Names
    """Names of all tasks that rows can have."""
    sets: Names
    """Name of each set."""
    owners: dict[str, list[int]]
    """For each stack, the number of each task's set."""
    bottleneck: int = Field(ge=1, le=1 << 20)
    """Width of the inner vector of every adapter."""
    dropout: list[Decay]
    """For each set, the dropout of the inner vector in training."""

    @model_validator(mode="after")
    def _fits_together(self) -> AdapterSettings:
        # One set for each task in each stack
        distinct = len(set(self.tasks))
        owner_counts = {stack: len(numbers) for stack, numbers in self.owners.items()}
        if owner_counts != {"encoder": distinct, "decoder": distinct}:
            raise ValueError("owners must give each task one set in the encoder and one in the decoder")

        # No task twice, and no set that there is not
        used = {number for numbers in self.owners.values() for number in numbers}
        if len(self.tasks) != distinct or not used <= {*range(len(self.sets))}:
            raise ValueError("a task is given twice, or owned by a set that there is not")
        if len(self.dropout) != len(self.sets):
            raise ValueError("dropout must be given for each set")
        return self


ADAPTERS: Final = Container(
    file=ADAPTERS_FILE, holds="adapters", header=AdapterSettings, remedy="train the adapters again", ascii=False
)


class HookPoint(NamedTuple):
    """A matrix that ends a sub-layer, after which every set has an adapter; its output is (batch, seq, d_model)."""

    name: str  # encoder_0_attention, encoder_0_ffn .. decoder_5_ffn
    layer: FFNLayer
    matrix: WeightMatrix


class Adapter(nn.Module):
    """One bottleneck module, for vectors of `width` (d_model); it starts as the identity."""

    def __init__(self, width: int, bottleneck: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        self.dropout = dropout

        # Zeros in `up` make the module the identity; with zeros in `down`, too, neither would get a gradient.
        nn.init.xavier_uniform_(self.down.weight)
        for start in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(start)

    def forward(self, states: torch.Tensor, training: bool) -> torch.Tensor:
        """Return the vectors that replace `states` (batch, seq, d_model)."""
        weight = self.up.weight
        autocast = torch.is_autocast_enabled(states.device.type)
        if weight.device != states.device or (weight.dtype != states.dtype and not autocast):
            self.to(states)  # the model was moved, but its adapters are not part of it

        inner = functional.relu(self.down(self.norm(states)))  # (batch, seq, bottleneck)
        change: torch.Tensor = self.up(functional.dropout(inner, self.dropout, training))
        return states + change.to(states.dtype)


class Adapters(PartRouter):
    """The adapters of a model; `unspecialize` removes them, and lets the backbone be trained again.

    The rows of a mixed batch are computed set by set: batches of one direction (`sampling.homogeneous`) are faster.

    Args:
        model: Encoder-decoder to which the adapters are added, in place.
        settings: Sets of adapters and their tasks.
        seed: Seed of the initialization.
        sets: Loaded modules to use instead of new ones.
        frozen: Whether the model's own parameters are excluded from training.

    Raises:
        NeuronspecError: If adapters do not fit the model.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        settings: AdapterSettings,
        *,
        seed: int = 0,
        sets: Any = None,
        frozen: bool = False,
    ) -> None:
        points = find_hook_points(model)  # may raise, before any change of the model
        super().__init__(model, settings.tasks, settings.owners)
        self.layers = list(dict.fromkeys(point.layer for point in points))
        self.settings = settings
        self.sets: nn.ModuleList = (sets or make_sets(points, settings, seed)).to(model.device, model.dtype)

        if frozen:
            self.freeze()

        # At each hook point, the output is replaced by that of the adapter of the row's task.
        for point in points:
            self.handles.append(point.matrix.register_forward_hook(functools.partial(self._adapt, point)))

    def save(self, directory: Path) -> None:
        """Write the adapters next to the model."""
        # Directions that were added without training are saved with the others.
        settings = self.settings.model_copy(update={"tasks": list(self.tasks), "owners": self.owners})
        ADAPTERS.save(directory / ADAPTERS_FILE, self.sets.state_dict(), settings)

    def load(self, directory: Path) -> None:
        """Load the weights that `save` wrote.

        Raises:
            NeuronspecError: If the file is damaged, or its adapters have other settings.
        """
        path = directory / ADAPTERS_FILE
        # A training resumes only with the settings of its checkpoint.
        settings, sets = _read_adapters(path, find_hook_points(self.model))
        for key, found in settings:
            expected = getattr(self.settings, key)
            if found != expected:
                raise NeuronspecError(
                    f"{path} holds other adapters: they were trained with {key} {found}; this run uses {key} {expected}"
                )

        self.sets.load_state_dict(sets.state_dict())

    def _adapt(self, point: HookPoint, module: nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        """Send each row of a sub-layer's output through the adapter of its task."""
        time_first = point.layer.time_first
        states = output.transpose(0, 1) if time_first else output  # (batch, seq, d_model)

        def compute(number: int, rows: torch.Tensor) -> torch.Tensor:
            # The hooked matrix knows whether this is training; the adapter is outside of the model and does not.
            adapter = self.sets.get_submodule(f"{number}.{point.name}")
            result: torch.Tensor = adapter(rows, module.training)
            return result

        adapted = self.route(states, point.layer.stack, compute)
        states = states if adapted is None else adapted
        return states.transpose(0, 1) if time_first else states


def load_adapters(model: PreTrainedModel, directory: Path) -> Adapters:
    """Add to a model the adapters that were trained with it; the tasks are then given with every batch.

    Raises:
        NeuronspecError: If there are none, the file is damaged, or they do not fit the model.
    """
    settings, sets = _read_adapters(directory / ADAPTERS_FILE, find_hook_points(model))
    return Adapters(model, settings, sets=sets)


def find_hook_points(model: PreTrainedModel) -> list[HookPoint]:
    """Return where the adapters of a set are placed, two in every layer, encoder first.

    Raises:
        NeuronspecError: If the model is no encoder-decoder, has layers of experts, or attention that is not built as
            expected.
    """
    if not model.config.is_encoder_decoder:
        raise NeuronspecError(f"adapters are for encoder-decoders: {model.config.model_type!r} is none")
    refuse_wrapped(model, "cannot put adapters into")

    # Adapters come after the last attention of a layer and after its FFN.
    points = []
    for layer in find_ffn_layers(model):
        if layer.experts is not None:
            raise NeuronspecError(f"adapters do not fit layers of experts, such as {layer.name}: use a dense model")

        ends = _find_attention_ends(layer)
        # A layer of the decoder has a cross-attention in addition.
        expected = 1 if layer.stack == "encoder" else 2
        if len(ends) != expected:
            raise NeuronspecError(
                f"adapters do not fit {layer.name}: {type(layer.block).__name__} must have {expected} attentions that "
                f"end with a matrix named {', '.join(_ATTENTION_ENDS)}; found {len(ends)}"
            )

        # Names of modules cannot contain a dot.
        name = layer.name.replace(".", "_")
        points.append(HookPoint(f"{name}_attention", layer, ends[-1]))
        points.append(HookPoint(f"{name}_ffn", layer, layer.projection))
    return points


def _find_attention_ends(layer: FFNLayer) -> list[WeightMatrix]:
    """Return the matrix that ends each attention of a layer, self-attention first."""
    ends = []
    for name, module in layer.block.named_modules():
        if name.rpartition(".")[2] in _ATTENTION_ENDS and is_matrix(module):
            ends.append(module)
    return ends


def make_sets(points: Sequence[HookPoint], settings: AdapterSettings, seed: int) -> nn.ModuleList:
    """Return new modules: for each set, an `Adapter` by the name of each hook point."""
    # The seed decides the weights, whatever was drawn before; the global random state stays as it was.
    widths = {point.name: features_out(point.matrix) for point in points}
    sets = nn.ModuleList()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for dropout in settings.dropout:
            adapters = {name: Adapter(width, settings.bottleneck, dropout) for name, width in widths.items()}
            sets.append(nn.ModuleDict(adapters))
    return sets


def _read_adapters(path: Path, points: Sequence[HookPoint]) -> tuple[AdapterSettings, nn.ModuleList]:
    """Read a file of adapters, and refuse it if it does not fit a model with these hook points."""
    tensors, settings = ADAPTERS.load(path)
    try:
        _check_tensors(tensors, len(settings.sets), len(points))
        # Modules without memory take the tensors themselves, instead of copying them.
        with torch.device("meta"):
            sets = make_sets(points, settings, seed=0)
        sets.load_state_dict(tensors, assign=True)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()  # torch's last line names a tensor
        raise NeuronspecError(f"cannot read {path}, or it belongs to another model: {reason}") from error
    return settings, sets


def _check_tensors(tensors: Mapping[str, torch.Tensor], sets: int, points: int) -> None:
    """Raise a ValueError if a file's tensors do not fit its settings; no module is made of false settings."""
    # An adapter has a norm, `down` and `up`, each with a weight and a bias.
    if len(tensors) != 6 * points * sets:
        raise ValueError(f"{len(tensors)} tensors are not those of {sets} sets in {points} places")
    if not all(tensor.is_floating_point() and tensor.isfinite().all() for tensor in tensors.values()):
        raise ValueError("it holds what is no finite number")
