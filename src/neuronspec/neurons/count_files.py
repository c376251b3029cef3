"""Files of activation counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import torch

from neuronspec.artifacts.container import Container
from neuronspec.artifacts.headers import Header, LayerNames, Signature, UniqueNames, worded
from neuronspec.layer_names import stack_of
from neuronspec.neurons.activity import Unit
from neuronspec.neurons.filenames import COUNTS_FILE

if TYPE_CHECKING:
    from neuronspec.neurons.counts import ActivationCounts


class CountHeader(Header):
    """Header of a file of activation counts."""

    tasks: UniqueNames
    """Names of the tasks, in the order of the rows."""
    layers: LayerNames
    """Names of the layers."""
    unit: Annotated[Unit, worded("is neither sentence nor token")]
    """What was counted."""
    signature: Signature
    """What else the counts depend on."""


COUNTS: Final = Container(
    file=COUNTS_FILE, holds="activation counts", header=CountHeader, remedy="record the activations again"
)


def write_counts(directory: Path, counts: ActivationCounts) -> Path:
    """Write counts into a directory and return the path of the file.

    Args:
        directory: Directory of the file, created if it does not exist.
        counts: Counts to write.
    """
    # Every tensor is named after its group, and its layer or stack.
    groups = {"counts": counts.values, "totals": counts.totals, "means": counts.means, "states": counts.states}
    tensors = {f"{group}.{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
    if counts.state_tasks is not None:
        tensors["state_tasks"] = counts.state_tasks

    # Without validation: the counts checked their names when they were made.
    header = CountHeader.model_construct(
        tasks=list(counts.tasks), layers=list(counts.layers), unit=counts.unit, signature=dict(counts.signature)
    )
    return COUNTS.save(directory / COUNTS_FILE, tensors, header)


def read_counts(path: Path) -> dict[str, Any]:
    """Return the fields of the counts in a file, by the names that `ActivationCounts` has for them.

    Args:
        path: Path of the file.

    Raises:
        NeuronspecError: If the file is missing, damaged, or holds no counts.
    """
    tensors, header = COUNTS.load(path)

    if problem := _find_problem(tensors, header):
        raise COUNTS.damaged(path, problem)

    # In the order of the header: a file keeps its tensors in an order of its own.
    return {
        "tasks": tuple(header.tasks),
        "values": {layer: tensors[f"counts.{layer}"] for layer in header.layers},
        "totals": _list_group(tensors, "totals"),
        "unit": header.unit,
        "signature": header.signature,
        "means": _sort_group(tensors, "means", header.layers),
        "states": _sort_group(tensors, "states", header.layers),
        "state_tasks": tensors.get("state_tasks"),
    }


def _find_problem(tensors: Mapping[str, torch.Tensor], header: CountHeader) -> str | None:
    """Return what is wrong with the tensors of a file of counts."""
    # Missing tensors
    dimensions = _expect_dimensions(tensors, header)
    for name in (*dimensions, *_expect_optional(tensors, header)):
        if name not in tensors:
            return f"{name!r} is missing"

    # Tensors that cannot be counts of these tasks
    for name, dimension in dimensions.items():
        tensor = tensors[name]
        if tensor.dtype != torch.int64 or tensor.ndim != dimension or len(tensor) != len(header.tasks):
            return f"expected int64 rows for {len(header.tasks)} tasks in {name}"
    return None


def _expect_dimensions(tensors: Mapping[str, torch.Tensor], header: CountHeader) -> dict[str, int]:
    """Return the names of the tensors that have a row for each task, and the number of their dimensions."""
    dimensions = {f"counts.{layer}": 2 for layer in header.layers}  # (tasks, d_ff)
    dimensions |= {f"totals.{stack_of(layer)}": 1 for layer in header.layers}  # (tasks,)
    # Totals of stacks that have no layer here are checked as well.
    return dimensions | {name: 1 for name in tensors if name.startswith("totals.")}


def _expect_optional(tensors: Mapping[str, torch.Tensor], header: CountHeader) -> list[str]:
    """Return the names of the means and the states: if one layer has them, every layer must."""
    groups = [group for group in ("means", "states") if _list_group(tensors, group)]
    return [f"{group}.{layer}" for group in groups for layer in header.layers]


def _list_group(tensors: Mapping[str, torch.Tensor], group: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with the name of a group, under the rest of their names."""
    return {name.removeprefix(f"{group}."): t for name, t in tensors.items() if name.startswith(f"{group}.")}


def _sort_group(tensors: Mapping[str, torch.Tensor], group: str, layers: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return the tensors of a group in the order of the layers; nothing if there is no such group."""
    named = _list_group(tensors, group)
    return {layer: named[layer] for layer in layers if named}
