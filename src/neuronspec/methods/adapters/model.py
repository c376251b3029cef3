"""Adapters: small bottleneck modules in the layers of a model, one set for each task or group of tasks.

The module is that of Bapna and Firat (2019): `x + Up(ReLU(Down(LN(x))))`. `Up` starts at zero, so that a model with
new adapters computes exactly what it did without.

The paper (A.2.3, A.2.4) does not state where adapters sit; its parameter counts need two in every layer. Here they
sit as in Houlsby et al. (2019), on what a sub-layer puts out, before dropout and the residual: one after the last
attention (in a decoder, the one that looks at the source sentence), one after the FFN. Every architecture ends both
sub-layers with a matrix that can be hooked, and the residual path stays the backbone's, pre-norm or post-norm.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
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
_ATTENTION_ENDS = ("out_proj", "o", "o_proj")  # how architectures name the matrix that ends an attention
Names = Annotated[list[str], Field(min_length=1)]


class Sharing(Section):
    """Which sets of adapters there are, and which task goes through which."""

    tasks: Names
    """That rows may have."""
    sets: Names
    """The name of each set."""
    owners: dict[str, list[int]]
    """For each stack, the number of the set of each task."""
    bottleneck: int = Field(ge=1, le=1 << 20)
    """Width of the inner vector of every adapter."""
    dropout: list[Decay]
    """For each set, the dropout of that vector in training."""

    @model_validator(mode="after")
    def _fits_together(self) -> Sharing:
        tasks, sets = len(set(self.tasks)), range(len(self.sets))
        if {stack: len(numbers) for stack, numbers in self.owners.items()} != {"encoder": tasks, "decoder": tasks}:
            raise ValueError("owners must give each task one set in the encoder and one in the decoder")
        if len(self.tasks) != tasks or any(n not in sets for numbers in self.owners.values() for n in numbers):
            raise ValueError("a task is given twice, or owned by a set that there is not")
        if len(self.dropout) != len(sets):
            raise ValueError("dropout must be given for each set")
        return self


ADAPTERS: Final = Container(
    file=ADAPTERS_FILE, holds="adapters", header=Sharing, remedy="train the adapters again", ascii=False
)


class Place(NamedTuple):
    """Where every set has an adapter: after a matrix that ends a sub-layer, with an output (batch, seq, d_model)."""

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
        nn.init.xavier_uniform_(self.down.weight)
        for start in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(start)

    def forward(self, states: torch.Tensor, training: bool) -> torch.Tensor:
        """Return what comes in place of `states` (batch, seq, d_model)."""
        weight = self.up.weight
        casts = torch.is_autocast_enabled(states.device.type)
        if weight.device != states.device or (weight.dtype != states.dtype and not casts):
            self.to(states)  # the model was moved, and does not know of its adapters
        inner = functional.relu(self.down(self.norm(states)))  # (batch, seq, bottleneck)
        change: torch.Tensor = self.up(functional.dropout(inner, self.dropout, training))
        return states + change.to(states.dtype)


class Adapters(PartRouter):
    """The adapters of a model; `unspecialize` takes them off, and lets the backbone be trained again.

    The rows of a mixed batch are computed set by set: batches of one direction (`sampling.homogeneous`) are faster.

    Args:
        model: an encoder-decoder, changed in place.
        sharing: which sets there are.
        seed: of the initialisation.
        sets: what was loaded, in place of new ones.
        frozen: whether training is to leave the model's own parameters as they are.
    """

    def __init__(
        self, model: PreTrainedModel, sharing: Sharing, seed: int = 0, sets: Any = None, frozen: bool = False
    ) -> None:
        places = find_places(model)  # may refuse, before anything is changed
        super().__init__(model, sharing.tasks, sharing.owners)
        self.layers = list(dict.fromkeys(place.layer for place in places))
        self.sharing = sharing
        self.sets: nn.ModuleList = (sets or make_sets(places, sharing, seed)).to(model.device, model.dtype)
        self.frozen = [parameter for parameter in model.parameters() if frozen and parameter.requires_grad]
        for parameter in self.frozen:
            parameter.requires_grad = False
        for place in places:
            self.handles.append(place.matrix.register_forward_hook(functools.partial(self._adapt, place)))

    def remove(self) -> None:
        """Take the adapters off; what was frozen for them can be trained again."""
        super().remove()
        for parameter in self.frozen:
            parameter.requires_grad = True

    def save(self, directory: Path) -> None:
        """Write the adapters beside the model."""
        sharing = self.sharing.model_copy(update={"tasks": list(self.tasks), "owners": self.owners})
        ADAPTERS.save(directory / ADAPTERS_FILE, self.sets.state_dict(), sharing)

    def load(self, directory: Path) -> None:
        """Read back what `save` wrote.

        Raises:
            NeuronspecError: the file is damaged, or of other adapters.
        """
        path = directory / ADAPTERS_FILE
        sharing, sets = _read(path, find_places(self.model))
        if other := [key for key, value in sharing if value != getattr(self.sharing, key)]:
            raise NeuronspecError(f"{path} is of other adapters: its {other[0]} differ from those of this training")
        self.sets.load_state_dict(sets.state_dict())

    def _adapt(self, place: Place, module: nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        """After the matrix that ends a sub-layer: send each row's vectors through its task's adapter."""
        time_first = place.layer.time_first
        states = output.transpose(0, 1) if time_first else output  # (batch, seq, d_model)

        def compute(number: int, rows: torch.Tensor) -> torch.Tensor:
            # The hooked matrix knows whether this is training: for evaluation the loop tells the model alone.
            made: torch.Tensor = self.sets.get_submodule(f"{number}.{place.name}")(rows, module.training)
            return made

        adapted = self.route(states, place.layer.stack, compute)
        states = states if adapted is None else adapted
        return states.transpose(0, 1) if time_first else states


def load_adapters(model: PreTrainedModel, directory: Path) -> Adapters:
    """Give a model the adapters that were trained with it; the tasks are then given with every batch.

    Raises:
        NeuronspecError: there are none, the file is damaged, or they do not fit the model.
    """
    sharing, sets = _read(directory / ADAPTERS_FILE, find_places(model))
    return Adapters(model, sharing, sets=sets)


def find_places(model: PreTrainedModel) -> list[Place]:
    """Find where the adapters of a set go, two in every layer, encoder first.

    Raises:
        NeuronspecError: it is no encoder-decoder, has layers of experts, or attention that is not built as expected.
    """
    if not model.config.is_encoder_decoder:
        raise NeuronspecError(f"adapters are for encoder-decoders: {model.config.model_type!r} is none")
    refuse_wrapped(model, "cannot put adapters into")
    places = []
    for layer in find_ffn_layers(model):
        if layer.experts is not None:
            raise NeuronspecError(f"adapters do not fit layers of experts, such as {layer.name}: use a dense model")
        named = layer.block.named_modules()
        ends = [part for name, part in named if name.rpartition(".")[2] in _ATTENTION_ENDS and is_matrix(part)]
        if len(ends) != (expected := 1 if layer.stack == "encoder" else 2):
            raise NeuronspecError(
                f"adapters do not fit {layer.name}: {type(layer.block).__name__} must have {expected} attentions that "
                f"end with a matrix named {', '.join(_ATTENTION_ENDS)}; found {len(ends)}"
            )
        name = layer.name.replace(".", "_")
        places += [Place(f"{name}_attention", layer, ends[-1]), Place(f"{name}_ffn", layer, layer.projection)]
    return places


def make_sets(places: Sequence[Place], sharing: Sharing, seed: int) -> nn.ModuleList:
    """Return new sets: by the number of each, and the name of each place, an `Adapter`."""
    widths = {place.name: features_out(place.matrix) for place in places}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.ModuleList(
            nn.ModuleDict({name: Adapter(width, sharing.bottleneck, rate) for name, width in widths.items()})
            for rate in sharing.dropout
        )


def _read(path: Path, places: Sequence[Place]) -> tuple[Sharing, nn.ModuleList]:
    """Read a file of adapters, and refuse it where it is not of a model with these places."""
    tensors, sharing = ADAPTERS.load(path)
    try:
        if len(tensors) != 6 * len(places) * len(sharing.sets):  # before anything is made of what it claims
            raise ValueError(
                f"{len(tensors)} tensors are not those of {len(sharing.sets)} sets in {len(places)} places"
            )
        if not all(tensor.is_floating_point() and tensor.isfinite().all() for tensor in tensors.values()):
            raise ValueError("it holds what is no finite number")
        with torch.device("meta"):
            sets = make_sets(places, sharing, 0)
        sets.load_state_dict(tensors, assign=True)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()  # torch's last line names a tensor
        raise NeuronspecError(f"cannot read {path}, or it is of another model: {reason}") from error
    return sharing, sets
