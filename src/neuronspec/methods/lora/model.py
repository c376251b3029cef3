"""LoRA (Hu et al., 2022): low-rank changes of the weight matrices of a model, one set for each task.

PEFT makes the matrices, but would train only one task in a batch. Here every row goes through the LoRA of its own task,
computed as PEFT does: `W x + B A dropout(x) * alpha / rank`. A trained model translates without PEFT.
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
from neuronspec.methods.layer_matrices import SUBLAYERS, LayerMatrix, find_layer_matrices
from neuronspec.methods.parts import PartRouter
from neuronspec.neurons.layers import find_ffn_layers

LORA_FILE = "lora.safetensors"
Targets = Literal["attention", "ffn", "both"]


class LoraSettings(Section):
    """LoRA settings: tasks, target matrices and rank."""

    tasks: list[str] = Field(min_length=1)
    """Tasks, each with a LoRA of its own."""
    rank: int = Field(ge=1, le=1 << 16)
    """Rank: the width of the inner vector."""
    alpha: int = Field(ge=1, le=1 << 16)
    """Scale: the output is multiplied by alpha / rank."""
    dropout: Decay
    """Dropout on the input, in training."""
    targets: Targets
    """Matrices that have a LoRA: those of the attentions, of the FFNs, or both."""


LORA: Final = Container(file=LORA_FILE, holds="LoRA", header=LoraSettings, remedy="train it again", ascii=False)


class LowRank(nn.Module):
    """The change of one matrix for one task; its two matrices have the names that PEFT gives them."""

    def __init__(self, down: nn.Module, up: nn.Module) -> None:
        super().__init__()
        self.lora_A = down  # weight (rank, in)
        self.lora_B = up  # weight (out, rank)

    def forward(self, states: torch.Tensor, dropout: float, scaling: float) -> torch.Tensor:
        """Return what is added to the matrix' output (batch, seq, out) for its input `states` (batch, seq, in)."""
        weight = self.lora_A.weight
        autocast = torch.is_autocast_enabled(states.device.type)
        if weight.device != states.device or (weight.dtype != states.dtype and not autocast):
            self.to(states)  # the model was moved, but its LoRA is not part of it

        # (batch, seq, in) to (batch, seq, rank) to (batch, seq, out)
        dropped = functional.dropout(states, dropout, dropout > 0)
        change: torch.Tensor = self.lora_B(self.lora_A(dropped))
        return change * scaling


class Lora(PartRouter):
    """The LoRA of a model; `unspecialize` removes it, and lets the backbone be trained again.

    The rows of a mixed batch are computed task by task: batches of one direction (`sampling.homogeneous`) are faster.

    Args:
        model: Model to which LoRA is added, in place.
        settings: Tasks, targets and rank.
        seed: Seed of the initialization.
        sets: Loaded modules to use instead of new ones.
        frozen: Whether the model's own parameters are excluded from training.

    Raises:
        NeuronspecError: If LoRA does not fit the model, or PEFT is not installed and there are no `sets`.
    """

    def __init__(
        self, model: PreTrainedModel, settings: LoraSettings, *, seed: int = 0, sets: Any = None, frozen: bool = False
    ) -> None:
        # What may raise comes before any change of the model.
        targets = find_targets(model, settings.targets)
        layers = find_ffn_layers(model)
        sets = sets or make_sets(targets, settings, seed)

        numbers = range(len(settings.tasks))
        super().__init__(model, settings.tasks, dict.fromkeys(STACKS, numbers))
        self.layers = layers
        self.settings = settings
        self.sets: nn.ModuleList = sets.to(model.device, model.dtype)
        if frozen:
            self.freeze()

        # What a task's matrices compute is added to the output of the model's own.
        for name, target in targets.items():
            hook = functools.partial(self._add, name, target.stack, target.time_first)
            self.handles.append(target.matrix.register_forward_hook(hook))

    def save(self, directory: Path) -> None:
        """Write the LoRA of every trained task next to the model."""
        LORA.save(directory / LORA_FILE, self.sets.state_dict(), self.settings)

    def load(self, directory: Path) -> None:
        """Load the weights that `save` wrote.

        Raises:
            NeuronspecError: If the file is damaged, or its LoRA has other settings.
        """
        path = directory / LORA_FILE
        # A training resumes only with the settings of its checkpoint.
        settings, sets = _read_lora(path, self.model)
        for key, found in settings:
            expected = getattr(self.settings, key)
            if found != expected:
                raise NeuronspecError(
                    f"{path} holds another LoRA: it was trained with {key} {found}; this run uses {key} {expected}"
                )

        self.sets.load_state_dict(sets.state_dict())

    def _add(self, name: str, stack: str, time_first: bool, module: nn.Module, arguments: Any, output: Any) -> Any:
        """Add to a matrix' output, row by row, what the LoRA of the row's task computes from its input."""
        states = arguments[0]
        if states.ndim != 3:
            raise NeuronspecError(f"LoRA needs (batch, seq, features): a matrix gets {tuple(states.shape)}, {name}")

        # The hooked matrix knows whether this is training; the LoRA is outside of the model and does not.
        dropout = self.settings.dropout if module.training else 0.0
        scaling = self.settings.alpha / self.settings.rank

        def compute(number: int, rows: torch.Tensor) -> Any:
            return self.sets.get_submodule(f"{number}.{name}")(rows, dropout, scaling)

        rows_first = states.transpose(0, 1) if time_first else states  # (batch, seq, in)
        change = self.route(rows_first, stack, compute)  # (batch, seq, out)
        if change is None:
            return output
        return output + (change.transpose(0, 1) if time_first else change).to(output.dtype)


def load_lora(model: PreTrainedModel, directory: Path) -> Lora:
    """Add to a model the LoRA that was trained with it; the tasks are then given with every batch.

    Raises:
        NeuronspecError: If there is none, the file is damaged, or it does not fit the model.
    """
    settings, sets = _read_lora(directory / LORA_FILE, model)
    return Lora(model, settings, sets=sets)


def find_targets(model: PreTrainedModel, targets: Targets) -> dict[str, LayerMatrix]:
    """Return the matrices that get a LoRA, by name; `/` stands for `.`, which names of modules cannot contain.

    Raises:
        NeuronspecError: If the model has experts, or a matrix that is not a plain `nn.Linear`.
    """
    try:
        found = find_layer_matrices(model, SUBLAYERS if targets == "both" else (targets,))
    except NeuronspecError as error:
        raise NeuronspecError(f"LoRA does not fit this model: {error}") from error

    for name, target in found.items():
        if not isinstance(target.matrix, nn.Linear):
            raise NeuronspecError(f"LoRA is for nn.Linear: {name} of this model is a {type(target.matrix).__name__}")
    return {name.replace(".", "/"): target for name, target in found.items()}


def make_sets(targets: Mapping[str, LayerMatrix], settings: LoraSettings, seed: int) -> nn.ModuleList:
    """Return new modules as PEFT initializes them (A at random, B zero): for each task, a `LowRank` by target name.

    Raises:
        NeuronspecError: If PEFT is not installed.
    """
    peft = import_peft()
    # PEFT reads a single text as a regular expression for whole names.
    every_child = "[^.]+"
    config = peft.LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=every_child)

    # The seed decides the weights, whatever was drawn before; the global random state stays as it was.
    sets = nn.ModuleList()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in settings.tasks:
            # PEFT calls its adapter `task`, and puts it into each blank; only the two new matrices are kept.
            made = peft.inject_adapter_in_model(config, _make_blanks(targets), "task")
            low_ranks = {
                name: LowRank(child.lora_A["task"], child.lora_B["task"]) for name, child in made.named_children()
            }
            sets.append(nn.ModuleDict(low_ranks))
    return sets


def _make_blanks(targets: Mapping[str, LayerMatrix]) -> nn.ModuleDict:
    """Return empty matrices with the sizes of the targets, which are all that PEFT needs: it freezes what it gets."""
    blanks = nn.ModuleDict()
    for name, target in targets.items():
        matrix = target.matrix
        assert isinstance(matrix, nn.Linear)
        # On "meta", values that nobody reads cost no time and no random numbers.
        blanks[name] = nn.Linear(matrix.in_features, matrix.out_features, bias=False, device="meta")
        # PEFT makes its matrices on the device of the matrix that it is given.
        blanks[name].to_empty(device="cpu")
    return blanks


def _read_lora(path: Path, model: PreTrainedModel) -> tuple[LoraSettings, nn.ModuleList]:
    """Read a file of LoRA, and refuse it if it does not fit the model."""
    tensors, settings = LORA.load(path)
    targets = find_targets(model, settings.targets)
    try:
        _check_tensors(tensors, settings, len(targets))
        # Modules without memory take the tensors themselves, instead of copying them.
        sets = _make_empty_sets(targets, settings)
        sets.load_state_dict(tensors, assign=True)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()  # torch's last line names a tensor
        raise NeuronspecError(f"cannot read {path}, or it belongs to another model: {reason}") from error
    return settings, sets


def _check_tensors(tensors: Mapping[str, torch.Tensor], settings: LoraSettings, targets: int) -> None:
    """Raise a ValueError if a file's tensors do not fit its settings; no module is made of false settings."""
    tasks = len(settings.tasks)
    if len(set(settings.tasks)) != tasks:
        raise ValueError("a task is given twice")

    # Every task has the two matrices A and B for each target.
    if len(tensors) != 2 * targets * tasks:
        raise ValueError(f"its {len(tensors)} tensors are not of {tasks} tasks, {targets} matrices")
    if not all(tensor.is_floating_point() and tensor.isfinite().all() for tensor in tensors.values()):
        raise ValueError("it holds what is no finite number")


def _make_empty_sets(targets: Mapping[str, LayerMatrix], settings: LoraSettings) -> nn.ModuleList:
    """Return modules without values, to load a file into."""
    sets = nn.ModuleList()

    # On the device "meta", tensors have shapes and take no memory.
    with torch.device("meta"):
        for _ in settings.tasks:
            low_ranks = nn.ModuleDict()
            for name, target in targets.items():
                matrix = target.matrix
                assert isinstance(matrix, nn.Linear)
                down = nn.Linear(matrix.in_features, settings.rank, bias=False)
                up = nn.Linear(settings.rank, matrix.out_features, bias=False)
                low_ranks[name] = LowRank(down, up)
            sets.append(low_ranks)
    return sets


def import_peft() -> Any:
    """Return the library PEFT, which is optional.

    Raises:
        NeuronspecError: If it is not installed.
    """
    return import_library("peft", "LoRA", "lora")
