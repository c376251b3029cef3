"""LoRA (Hu et al., 2022): low-rank changes of the weight matrices of a model, one set for each task.

PEFT makes the matrices, but would train one task in a batch: here every row goes through its own task's, which
computes as PEFT does, `W x + B A dropout(x) * alpha / rank`. What is trained translates without PEFT.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from neuronspec.artifacts.container import Container
from neuronspec.config.sections import Decay, Section
from neuronspec.errors import NeuronspecError
from neuronspec.layer_names import STACKS
from neuronspec.libraries import import_library
from neuronspec.methods.lass.masks import PARTS, Place, find_matrices
from neuronspec.methods.parts import PartRouter
from neuronspec.neurons.layers import find_ffn_layers

LORA_FILE = "lora.safetensors"
Targets = Literal["attention", "ffn", "both"]


class Shape(Section):
    """What LoRA there is: whose, where, and how large."""

    tasks: list[str] = Field(min_length=1)
    """That have one each."""
    rank: int = Field(ge=1, le=1 << 16)
    """Width of the inner vector."""
    alpha: int = Field(ge=1, le=1 << 16)
    """What comes out is multiplied by alpha / rank."""
    dropout: Decay
    """Dropout, in training, of what goes in."""
    targets: Targets
    """Which matrices have one: those of the attentions, of the FFNs, or both."""


LORA: Final = Container(file=LORA_FILE, holds="LoRA", header=Shape, remedy="train it again", ascii=False)


class LowRank(nn.Module):
    """What one task adds to what one matrix puts out; its two matrices have the names that PEFT gives them."""

    def __init__(self, down: nn.Module, up: nn.Module) -> None:
        super().__init__()
        self.lora_A, self.lora_B = down, up  # (rank, in), (out, rank)

    def forward(self, states: torch.Tensor, dropout: float, scaling: float) -> torch.Tensor:
        """Return what is added to the matrix' output (batch, seq, out) for its input `states` (batch, seq, in)."""
        weight = self.lora_A.weight
        casts = torch.is_autocast_enabled(states.device.type)
        if weight.device != states.device or (weight.dtype != states.dtype and not casts):
            self.to(states)  # the model was moved, and does not know of its LoRA
        change: torch.Tensor = self.lora_B(self.lora_A(functional.dropout(states, dropout, dropout > 0)))
        return change * scaling


class Lora(PartRouter):
    """The LoRA of a model; `unspecialize` takes it off, and lets the backbone be trained again.

    The rows of a mixed batch are computed task by task: batches of one direction (`sampling.homogeneous`) are faster.

    Args:
        model: changed in place.
        shape: what LoRA it gets.
        seed: of the initialisation.
        sets: what was loaded, in place of new ones.
        frozen: whether training is to leave the model's own parameters as they are.

    Raises:
        NeuronspecError: it does not fit the model, or PEFT is not installed and there are no `sets`.
    """

    def __init__(
        self, model: PreTrainedModel, shape: Shape, seed: int = 0, sets: Any = None, frozen: bool = False
    ) -> None:
        places, layers = find_targets(model, shape.targets), find_ffn_layers(model)
        sets = sets or make_sets(places, shape, seed)  # may refuse, before anything is changed
        super().__init__(model, shape.tasks, dict.fromkeys(STACKS, range(len(shape.tasks))))
        self.layers, self.shape = layers, shape
        self.sets: nn.ModuleList = sets.to(model.device, model.dtype)
        self.frozen = [parameter for parameter in model.parameters() if frozen and parameter.requires_grad]
        for parameter in self.frozen:
            parameter.requires_grad = False
        for name, place in places.items():
            hook = functools.partial(self._add, name, place.stack, place.time_first)
            self.handles.append(place.matrix.register_forward_hook(hook))

    def remove(self) -> None:
        """Take the LoRA off; what was frozen for it can be trained again."""
        super().remove()
        for parameter in self.frozen:
            parameter.requires_grad = True

    def save(self, directory: Path) -> None:
        """Write the LoRA of every trained task beside the model."""
        LORA.save(directory / LORA_FILE, self.sets.state_dict(), self.shape)

    def load(self, directory: Path) -> None:
        """Read back what `save` wrote.

        Raises:
            NeuronspecError: the file is damaged, or of another LoRA.
        """
        path = directory / LORA_FILE
        shape, sets = _read(path, self.model)
        if other := [key for key, value in shape if value != getattr(self.shape, key)]:
            raise NeuronspecError(f"{path} is of another LoRA: its {other[0]} differ from those of this training")
        self.sets.load_state_dict(sets.state_dict())

    def _add(self, name: str, stack: str, time_first: bool, module: nn.Module, arguments: Any, output: Any) -> Any:
        """After a matrix: add to each row's vectors what its task's LoRA makes of those that went in."""
        states = arguments[0]
        if states.ndim != 3:
            raise NeuronspecError(f"LoRA needs (batch, seq, features): a matrix gets {tuple(states.shape)}, {name}")
        # The hooked matrix knows whether this is training: for evaluation the loop tells the model alone.
        dropout, scaling = self.shape.dropout if module.training else 0.0, self.shape.alpha / self.shape.rank

        def compute(number: int, rows: torch.Tensor) -> Any:
            return self.sets.get_submodule(f"{number}.{name}")(rows, dropout, scaling)

        change = self.route(states.transpose(0, 1) if time_first else states, stack, compute)
        if change is None:
            return output
        return output + (change.transpose(0, 1) if time_first else change).to(output.dtype)


def load_lora(model: PreTrainedModel, directory: Path) -> Lora:
    """Give a model the LoRA that was trained with it; the tasks are then given with every batch.

    Raises:
        NeuronspecError: there is none, the file is damaged, or it does not fit the model.
    """
    shape, sets = _read(directory / LORA_FILE, model)
    return Lora(model, shape, sets=sets)


def find_targets(model: PreTrainedModel, targets: Targets) -> dict[str, Place]:
    """Return the matrices that get LoRA; in their names `/` stands for `.`, which names of modules cannot have.

    Raises:
        NeuronspecError: the model has experts, or a matrix that is no plain `nn.Linear`.
    """
    try:
        found = find_matrices(model, PARTS if targets == "both" else (targets,))
    except NeuronspecError as error:
        raise NeuronspecError(f"LoRA does not fit this model: {error}") from error
    for name, place in found.items():
        if not isinstance(place.matrix, nn.Linear):
            raise NeuronspecError(f"LoRA is for nn.Linear: {name} of this model is a {type(place.matrix).__name__}")
    return {name.replace(".", "/"): place for name, place in found.items()}


def make_sets(places: Mapping[str, Place], shape: Shape, seed: int) -> nn.ModuleList:
    """Return new sets, as PEFT starts them (A at random, B zero): by the number of each task and name, a `LowRank`.

    Raises:
        NeuronspecError: PEFT is not installed.
    """
    peft = import_peft()
    config = peft.LoraConfig(r=shape.rank, lora_alpha=shape.alpha, target_modules="[^.]+")  # every child
    sets = nn.ModuleList()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in shape.tasks:
            blanks = nn.ModuleDict()  # of the same sizes, which are all that PEFT needs: it freezes what it is given
            for name, (matrix, *_) in places.items():
                blanks[name] = nn.Linear(matrix.in_features, matrix.out_features, bias=False, device="meta")
                blanks[name].to_empty(device="cpu")
            made = dict(peft.inject_adapter_in_model(config, blanks, "task").named_children())
            sets.append(nn.ModuleDict({n: LowRank(m.lora_A["task"], m.lora_B["task"]) for n, m in made.items()}))
    return sets


def _read(path: Path, model: PreTrainedModel) -> tuple[Shape, nn.ModuleList]:
    """Read a file of LoRA, and refuse it where it is not of this model."""
    tensors, shape = LORA.load(path)
    places = find_targets(model, shape.targets)
    try:
        if len(set(shape.tasks)) != len(shape.tasks):
            raise ValueError("a task is given twice")
        if len(tensors) != 2 * len(places) * len(shape.tasks):  # before anything is made of what it claims
            raise ValueError(f"its {len(tensors)} tensors are not of {len(shape.tasks)} tasks, {len(places)} matrices")
        if not all(tensor.is_floating_point() and tensor.isfinite().all() for tensor in tensors.values()):
            raise ValueError("it holds what is no finite number")
        with torch.device("meta"):
            linear = functools.partial(nn.Linear, bias=False)
            sets = nn.ModuleList(
                nn.ModuleDict(
                    {
                        name: LowRank(linear(matrix.in_features, shape.rank), linear(shape.rank, matrix.out_features))
                        for name, (matrix, *_) in places.items()
                    }
                )
                for _ in shape.tasks
            )
        sets.load_state_dict(tensors, assign=True)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()  # torch's last line names a tensor
        raise NeuronspecError(f"cannot read {path}, or it is of another model: {reason}") from error
    return shape, sets


def import_peft() -> Any:
    """Return the library, which not everyone has."""
    return import_library("peft", "LoRA", "lora")
