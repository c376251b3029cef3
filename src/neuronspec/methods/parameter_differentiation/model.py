"""Branches: modules of a model that exist in several copies, each for some of the tasks (parameter differentiation).

What can be copied, a unit, is each sub-module with weights in the encoder's and the decoder's layers: the projections
of every attention, the FFN's matrices, each layer norm. Embeddings, the last layer norm of a stack and the output
projection are always shared. Copy 0 of a unit is the model's own module; the other copies live outside the model, so
that its state dict stays as it was.
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
    """A module that may be copied.

    Args:
        name: its layer's name and its own in there: `encoder.3.fc1`, `decoder.0.encoder_attn.q_proj`.
        stack: `encoder` or `decoder`.
        module: the model's own.
    """

    name: str
    stack: str
    module: nn.Module

    @property
    def size(self) -> int:
        """The number of its parameters."""
        return sum(parameter.numel() for parameter in self.module.parameters())


@dataclass(frozen=True)
class Copy:
    """One copy of a unit, by its number (0: the model's own), and the numbers of the tasks that share it."""

    unit: Unit
    number: int
    module: nn.Module
    tasks: tuple[int, ...]


def find_units(model: PreTrainedModel) -> dict[str, Unit]:
    """Find the units of an encoder-decoder by their names, encoder first; refuse a model that has none such."""
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
            has_weights = not [*module.children()] and [*module.parameters()]
            # T5 keeps an embedding in its first layers, of distances between positions: it has no rows.
            if has_weights and not isinstance(module, nn.Embedding):
                units[f"{layer.name}.{path}"] = Unit(f"{layer.name}.{path}", layer.stack, module)
    return units


class Branches(PartRouter):
    """The copies of a model's modules, and what sends each row through those of its task.

    A new one has no copies: the model computes what it did, and need not know any tasks. In terms of `PartRouter`,
    each task is the owner of a part; what that is is said by the tables, unit by unit.

    Args:
        model: changed in place.
        tasks: that rows may have.
    """

    def __init__(self, model: PreTrainedModel, tasks: Sequence[str]) -> None:
        units, layers = find_units(model), find_ffn_layers(model)  # before anything is changed: it may refuse
        super().__init__(model, tasks, dict.fromkeys(STACKS, range(len(tasks))))
        self.units, self.layers = units, layers
        self.trained = tuple(tasks)
        self.tables: dict[str, list[int]] = {}  # of units with more than one copy, in the order of their first split
        self.copies: dict[str, list[nn.Module]] = {}  # of the same, the model's own module first
        self.parts = nn.Module()  # the copies but the first, named `encoder.3.fc1.2`
        self.original = count_parameters(model)

    @property
    def size(self) -> int:
        """The number of parameters of the model and all copies."""
        return self.original + sum(parameter.numel() for parameter in self.parts.parameters())

    def shared(self) -> list[Copy]:
        """Return the copies that more than one task shares, in the order of the units, then of the copies."""
        return [
            Copy(unit, number, module, tasks)
            for name, unit in self.units.items()
            for number, module in enumerate(self.copies.get(name, [unit.module]))
            if len(tasks := self._tasks_of(name, number)) > 1
        ]

    def split(self, unit: str, tasks: Sequence[int]) -> None:
        """Give some of the tasks that share a copy a new one for themselves, equal to it.

        Args:
            unit: its name.
            tasks: numbers; not all that share the copy.
        """
        table = self.tables.get(unit, [0] * len(self.trained))
        number = table[tasks[0]]
        assert {*tasks} < {*self._tasks_of(unit, number)}, "some of those that share one copy"
        new = self._add(self.units[unit], number)
        self.tables[unit] = [new if task in tasks else of_task for task, of_task in enumerate(table)]

    def remove(self) -> None:
        """Take the copies off; where another library has put a forward on top, ours stays below and does nothing."""
        super().remove()
        for name in self.tables:
            module = self.units[name].module
            now = module.__dict__.get("forward")
            if isinstance(now, functools.partial) and getattr(now.func, "__self__", None) is self:
                del module.forward
                if module.forward != now.args[1]:  # another library's, below ours
                    module.forward = now.args[1]

    def save(self, directory: Path, **more: Any) -> None:
        """Write the copies, which task has which, and what `more` is to be known of them, JSON values."""
        header = BranchHeader.model_construct(
            tasks=list(self.trained), original=self.original, tables=self.tables, **more
        )
        BRANCHES.save(directory / BRANCHES_FILE, self.parts.state_dict(), header)

    def restore(self, directory: Path) -> dict[str, Any]:
        """Put copies that `save` wrote into a model that has none yet.

        Returns:
            All that is known of them.

        Raises:
            NeuronspecError: the file is missing, damaged, or of another model or other tasks.
        """
        tensors, about = _read(directory / BRANCHES_FILE, self.units)
        if tuple(about["tasks"]) != self.trained:
            raise NeuronspecError(
                f"the branches in {directory} are of the tasks {', '.join(about['tasks'])}; "
                f"expected {', '.join(self.trained)}: begin in a new directory"
            )
        self._restore(tensors, about)
        return about

    def _restore(self, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
        assert not self.tables
        for name, table in about["tables"].items():
            for _ in range(max(table)):
                self._add(self.units[name], 0)
            self.tables[name] = list(table)
        self.parts.load_state_dict(tensors)
        self.original = about["original"]

    def _tasks_of(self, unit: str, number: int) -> tuple[int, ...]:
        table = self.tables.get(unit, [0] * len(self.trained))
        return tuple(task for task, of_task in enumerate(table) if of_task == number)

    def _add(self, unit: Unit, number: int) -> int:
        """Add a copy of a copy, and return its number."""
        copies = self.copies.setdefault(unit.name, [unit.module])
        forward = copies[number].__dict__.get("forward")  # ours, which would bring the whole model along
        made = copy.deepcopy(copies[number], {id(forward): None})
        made.__dict__.pop("forward", None)
        if len(copies) == 1:
            unit.module.forward = functools.partial(self._compute, unit, unit.module.forward)
        copies.append(made)
        place = self.parts
        for step in unit.name.split("."):
            if step not in dict(place.named_children()):
                place.add_module(step, nn.Module())
            place = place.get_submodule(step)
        place.add_module(str(len(copies) - 1), made)
        return len(copies) - 1

    def _compute(self, unit: Unit, own: Dense, states: torch.Tensor) -> torch.Tensor:
        """In place of a module's forward: send each row of (batch, seq, features) through its task's copy."""
        if find_router(self.model) is not self:  # taken off, but below another library's forward
            return own(states)
        if states.ndim != 3:
            raise NeuronspecError(f"{unit.name} was given {tuple(states.shape)}: expected (batch, seq, features)")
        through = functools.partial(self._through, unit, own)
        made = self.route(states, unit.stack, through, self.tables[unit.name])
        return own(states) if made is None else made  # none inside `dense`

    def _through(self, unit: Unit, own: Dense, number: int, states: torch.Tensor) -> torch.Tensor:
        if number == 0:
            return own(states)
        module = self.copies[unit.name][number]
        here, there = next(module.parameters()), next(unit.module.parameters())
        if (here.device, here.dtype) != (there.device, there.dtype):
            module.to(there.device, there.dtype)  # the model was moved, which copies outside of it do not notice
        made: torch.Tensor = module(states)
        return made


def load_branches(model: PreTrainedModel, directory: Path) -> Branches:
    """Give a model the copies of its modules that a training left beside it.

    Args:
        model: loaded from the directory; changed in place.
        directory: with a file `branches.safetensors`.

    Raises:
        NeuronspecError: the file is missing, damaged, or of another model; the model is then as it was.
    """
    tensors, about = _read(directory / BRANCHES_FILE, find_units(model))
    branches = Branches(model, about["tasks"])
    branches._restore(tensors, about)
    return branches


def _read(path: Path, units: Mapping[str, Unit]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a file of branches, and refuse one that does not fit the units."""
    tensors, header = BRANCHES.load(path)
    try:
        expected = dict(_expected(units, header.tables, len(header.tasks)))
        if odd := sorted(tensors.keys() ^ expected.keys()):
            raise ValueError(f"it {'has' if odd[0] in tensors else 'lacks'} the tensor {odd[0]}, against its tables")
        for name, tensor in tensors.items():
            if tensor.shape != expected[name] or not tensor.is_floating_point():
                found, shape = (tuple(size) for size in (tensor.shape, expected[name]))
                raise ValueError(f"{name} is {tensor.dtype} of shape {found}, expected numbers of shape {shape}")
        if bad := find_nonfinite(tensors.items()):
            raise ValueError(f"{bad[0]} holds what is no finite number")
    except (ValueError, TypeError) as error:
        raise NeuronspecError(f"{path} is damaged or of another model: {error}") from error
    return tensors, header.model_dump()


def _expected(units: Mapping[str, Unit], tables: Mapping[str, Any], tasks: int) -> Iterator[tuple[str, torch.Size]]:
    """Yield the name and the shape of every tensor of the copies that tables speak of."""
    for name, table in tables.items():
        if name not in units:
            raise ValueError(f"it has copies of {name}, which the model lacks")
        whole = isinstance(table, list) and len(table) == tasks and all(type(number) is int for number in table)
        if not whole or {*table} != {*range(len({*table}))} or len({*table}) < 2:
            raise ValueError(f"its table of {name} does not give each of {tasks} tasks one of several copies")
        for number in range(1, max(table) + 1):
            for key, tensor in units[name].module.state_dict().items():
                yield f"{name}.{number}.{key}", tensor.shape
