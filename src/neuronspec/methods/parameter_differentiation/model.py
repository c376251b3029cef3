"""Branches: modules of a model that have several copies, each for some of the tasks.

A unit, which can be copied, is a sub-module with weights in a layer of the encoder or the decoder: a projection of an
attention, a matrix of an FFN, a layer norm. Embeddings, the last layer norm of a stack and the output projection are
always shared. Copy 0 of a unit is the model's own module; the other copies are kept outside the model, so that its
state dict does not change.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.artifacts.container import Container
from neuronspec.artifacts.headers import Header, UniqueNames, worded
from neuronspec.errors import NeuronspecError
from neuronspec.layer_names import STACKS
from neuronspec.methods.parts import PartRouter
from neuronspec.models.building import count_parameters
from neuronspec.models.nonfinite import find_nonfinite
from neuronspec.models.peft_wrapping import refuse_wrapped
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.specialization.routing import find_router

BRANCHES_FILE = "branches.safetensors"

Dense = Callable[[torch.Tensor], torch.Tensor]


class BranchHeader(Header):
    """Header of a file of branches; a training keeps further facts of its own in it."""

    tasks: UniqueNames
    """Names of the tasks."""
    original: Annotated[int, worded("is not a number of parameters")]
    """Number of parameters of the model before any of its modules was copied."""
    tables: Annotated[dict[str, Any], worded("are not a mapping from modules to copies")]
    """For each module that has copies, the number of the copy of each task."""


BRANCHES: Final = Container(
    file=BRANCHES_FILE, holds="branches", header=BranchHeader, remedy="train the branches again", ascii=False
)


@dataclass(frozen=True)
class Unit:
    """A module that can be copied.

    Args:
        name: Name of its layer and its name in the layer: `encoder.3.fc1`, `decoder.0.encoder_attn.q_proj`.
        stack: `encoder` or `decoder`.
        module: The model's own module.
    """

    name: str
    stack: str
    module: nn.Module

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.module.parameters())


@dataclass(frozen=True)
class ModuleCopy:
    """One copy of a unit.

    Args:
        unit: Unit that was copied.
        number: Number of the copy; 0 is the model's own module.
        module: Module with the copy's weights.
        tasks: Numbers of the tasks that share the copy.
    """

    unit: Unit
    number: int
    module: nn.Module
    tasks: tuple[int, ...]


def find_units(model: PreTrainedModel) -> dict[str, Unit]:
    """Return the units of an encoder-decoder by name, encoder first.

    Raises:
        NeuronspecError: If the model is no encoder-decoder, has layers of experts, or computes with time-first vectors.
    """
    if not model.config.is_encoder_decoder:
        raise NeuronspecError(f"branches are for encoder-decoders; {model.config.model_type!r} is none")
    refuse_wrapped(model, "cannot branch")

    units: dict[str, Unit] = {}
    for layer in find_ffn_layers(model):
        if layer.experts is not None or layer.time_first:
            found = "are time-first" if layer.time_first else "go through experts, without their rows"
            raise NeuronspecError(
                f"the vectors in {layer.name} {found}; branches need (batch, seq, features): use another model"
            )

        for path, module in layer.block.named_modules():
            # Only innermost modules, whose weights belong to no other unit
            has_weights = not [*module.children()] and [*module.parameters()]
            # T5 has an embedding of relative positions in its first layers: it does not compute rows.
            if has_weights and not isinstance(module, nn.Embedding):
                name = f"{layer.name}.{path}"
                units[name] = Unit(name, layer.stack, module)
    return units


class Branches(PartRouter):
    """The copies of a model's modules; sends each row through those of its task.

    At first there are no copies: the model computes the same as before, and needs to know no tasks. In terms of
    `PartRouter`, each task has a part of its own; `tables` say which copy of each unit belongs to it.

    Args:
        model: Model to change in place.
        tasks: Names of all tasks that rows can have.

    Attributes:
        tables: For each unit with several copies, in the order of their first split, the number of each task's copy.
        copies: For the same units, the copies, with the model's own module first.
        copied_modules: The copies except the first ones, named `encoder.3.fc1.2`.
        original: Number of parameters of the model without copies.
    """

    def __init__(self, model: PreTrainedModel, tasks: Sequence[str]) -> None:
        units, layers = find_units(model), find_ffn_layers(model)  # may raise, before any change of the model
        numbers = range(len(tasks))
        super().__init__(model, tasks, dict.fromkeys(STACKS, numbers))
        self.units, self.layers = units, layers
        self.trained = tuple(tasks)  # `tasks` can grow by unseen directions
        self.tables: dict[str, list[int]] = {}
        self.copies: dict[str, list[nn.Module]] = {}
        self.copied_modules = nn.Module()
        self.original = count_parameters(model)

    @property
    def size(self) -> int:
        """Number of parameters of the model and all copies."""
        return self.original + sum(parameter.numel() for parameter in self.copied_modules.parameters())

    def shared(self) -> list[ModuleCopy]:
        """Return the copies that several tasks share, in the order of the units, then of the copies."""
        shared = []
        for name, unit in self.units.items():
            # A unit that was never split has a single copy, the model's own module.
            for number, module in enumerate(self.copies.get(name, [unit.module])):
                tasks = self._tasks_of(name, number)
                if len(tasks) > 1:
                    shared.append(ModuleCopy(unit=unit, number=number, module=module, tasks=tasks))
        return shared

    def split(self, unit: str, tasks: Sequence[int]) -> None:
        """Give some of the tasks that share a copy a new copy of their own, which is equal to it.

        Args:
            unit: Name of the unit.
            tasks: Numbers of some, but not all, of the tasks that share the copy.
        """
        table = list(self.tables.get(unit, [0] * len(self.trained)))
        number = table[tasks[0]]  # of the copy that they share
        assert {*tasks} < {*self._tasks_of(unit, number)}, "some of those that share one copy"

        # The tasks that leave the copy use the new one; the others keep their number.
        new = self._add_copy(self.units[unit], number)
        for task in tasks:
            table[task] = new
        self.tables[unit] = table

    def remove(self) -> None:
        """Remove the copies; under a forward method of another library, ours stays and does nothing."""
        super().remove()
        for name in self.tables:
            module = self.units[name].module
            now = module.__dict__.get("forward")
            # Ours is `_forward`, whose second argument is the method that was there before.
            if isinstance(now, functools.partial) and getattr(now.func, "__self__", None) is self:
                del module.forward
                if module.forward != now.args[1]:  # a forward of another library was below ours
                    module.forward = now.args[1]

    def save(self, directory: Path, **more: Any) -> None:
        """Write the copies and their tables; `more` are JSON values to save with them."""
        header = BranchHeader.model_construct(
            tasks=list(self.trained), original=self.original, tables=self.tables, **more
        )
        BRANCHES.save(directory / BRANCHES_FILE, self.copied_modules.state_dict(), header)

    def restore(self, directory: Path) -> dict[str, Any]:
        """Load copies that `save` wrote into a model that has none yet.

        Returns:
            Everything that was saved with the copies.

        Raises:
            NeuronspecError: If the file is missing, damaged, or of another model or other tasks.
        """
        tensors, header = _read_branches(directory / BRANCHES_FILE, self.units)
        # The tables number the tasks: in another order they would mean others.
        if tuple(header["tasks"]) != self.trained:
            raise NeuronspecError(
                f"the branches in {directory} are of the tasks {', '.join(header['tasks'])}; "
                f"expected {', '.join(self.trained)}: begin in a new directory"
            )
        self._load(tensors, header)
        return header

    def _load(self, tensors: Mapping[str, torch.Tensor], header: Mapping[str, Any]) -> None:
        assert not self.tables
        for name, table in header["tables"].items():
            # Copy 0 is the module itself, so the highest number is how many others there are.
            for _ in range(max(table)):
                self._add_copy(self.units[name], 0)
            self.tables[name] = list(table)
        # Copies start with the weights of the model's own modules, and get their own now.
        self.copied_modules.load_state_dict(tensors)
        self.original = header["original"]

    def _tasks_of(self, unit: str, number: int) -> tuple[int, ...]:
        table = self.tables.get(unit, [0] * len(self.trained))
        return tuple(task for task, copy_number in enumerate(table) if copy_number == number)

    def _add_copy(self, unit: Unit, number: int) -> int:
        """Copy a copy, and return the number of the new one."""
        copies = self.copies.setdefault(unit.name, [unit.module])

        # Without our own forward method, which refers to the whole model.
        forward = copies[number].__dict__.get("forward")
        made = copy.deepcopy(copies[number], {id(forward): None})
        made.__dict__.pop("forward", None)

        # With the first copy, the module's own forward method begins to route rows.
        if len(copies) == 1:
            unit.module.forward = functools.partial(self._forward, unit, unit.module.forward)
        copies.append(made)

        # Modules inside modules, because a module's name cannot contain a dot.
        holder = self.copied_modules
        for step in unit.name.split("."):
            if step not in dict(holder.named_children()):
                holder.add_module(step, nn.Module())
            holder = holder.get_submodule(step)
        holder.add_module(str(len(copies) - 1), made)
        return len(copies) - 1

    def _forward(self, unit: Unit, own: Dense, states: torch.Tensor) -> torch.Tensor:
        """Send each row of (batch, seq, features) through its task's copy, in place of a module's forward method."""
        if find_router(self.model) is not self:  # removed, but another library's forward still calls this one
            return own(states)
        if states.ndim != 3:
            raise NeuronspecError(f"{unit.name} was given {tuple(states.shape)}: expected (batch, seq, features)")

        compute = functools.partial(self._compute_rows, unit, own)
        output = self.route(states, unit.stack, compute, self.tables[unit.name])
        return own(states) if output is None else output

    def _compute_rows(self, unit: Unit, own: Dense, number: int, states: torch.Tensor) -> torch.Tensor:
        """Return the output of one copy for its rows."""
        if number == 0:
            return own(states)

        # Other copies are modules outside of the model.
        module = self.copies[unit.name][number]
        weight, own_weight = next(module.parameters()), next(unit.module.parameters())
        if (weight.device, weight.dtype) != (own_weight.device, own_weight.dtype):
            module.to(own_weight.device, own_weight.dtype)  # the model was moved, but its copies are not part of it

        output: torch.Tensor = module(states)
        return output


def load_branches(model: PreTrainedModel, directory: Path) -> Branches:
    """Add to a model the copies of its modules that were trained with it.

    Args:
        model: Model that was loaded from the directory; changed in place.
        directory: Directory with a file `branches.safetensors`.

    Raises:
        NeuronspecError: If the file is missing, damaged, or of another model; the model is then unchanged.
    """
    tensors, header = _read_branches(directory / BRANCHES_FILE, find_units(model))
    branches = Branches(model, header["tasks"])
    branches._load(tensors, header)
    return branches


def _read_branches(path: Path, units: Mapping[str, Unit]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a file of branches, and refuse it if it does not fit the units."""
    tensors, header = BRANCHES.load(path)
    try:
        expected = dict(_expect_shapes(units, header.tables, len(header.tasks)))
        _check_tensors(tensors, expected)
    except (ValueError, TypeError) as error:
        raise NeuronspecError(f"{path} is damaged or of another model: {error}") from error
    return tensors, header.model_dump()


def _expect_shapes(
    units: Mapping[str, Unit], tables: Mapping[str, Any], tasks: int
) -> Iterator[tuple[str, torch.Size]]:
    """Yield the name and the shape of every tensor of the copies in the tables.

    Raises:
        ValueError: If a table does not fit the units or the number of tasks.
    """
    for name, table in tables.items():
        if name not in units:
            raise ValueError(f"it has copies of {name}, which the model lacks")

        if not _is_sound_table(table, tasks):
            raise ValueError(f"its table of {name} does not give each of {tasks} tasks one of several copies")

        # Copy 0 is the module of the model itself, which is saved with it.
        for number in range(1, max(table) + 1):
            for key, tensor in units[name].module.state_dict().items():
                yield f"{name}.{number}.{key}", tensor.shape


def _is_sound_table(table: Any, tasks: int) -> bool:
    """Return whether a table gives each task the number of a copy, of two or more, each used by some task."""
    if not isinstance(table, list) or len(table) != tasks:
        return False
    if not all(type(number) is int for number in table):
        return False

    # Numbers without gaps, so that every copy is used
    used = {*table}
    return len(used) >= 2 and used == {*range(len(used))}


def _check_tensors(tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Size]) -> None:
    """Raise a ValueError if tensors do not have the expected names and shapes, or are not finite numbers."""
    # Names, shapes and types come before values, which have a meaning only where all tensors are as expected.
    if odd := sorted(tensors.keys() ^ expected.keys()):
        raise ValueError(f"it {'has' if odd[0] in tensors else 'lacks'} the tensor {odd[0]}, against its tables")

    for name, tensor in tensors.items():
        if tensor.shape != expected[name] or not tensor.is_floating_point():
            found, shape = tuple(tensor.shape), tuple(expected[name])
            raise ValueError(f"{name} is {tensor.dtype} of shape {found}, expected numbers of shape {shape}")

    if bad := find_nonfinite(tensors.items()):
        raise ValueError(f"{bad[0]} holds what is no finite number")
