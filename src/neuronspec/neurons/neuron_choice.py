"""Chosen neurons: by numbers, by masks, or by names such as `decoder.4:117`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.names import check_layers

NeuronChoice = Mapping[str, Any] | Sequence[str]
"""Neurons by layer (numbers, or a boolean mask), or a list of names such as `decoder.4:117`."""

_MOST_DIGITS = 9  # of a neuron's number


class LayerChoice(NamedTuple):
    """The chosen neurons of one layer.

    Attributes:
        numbers: (n,) int64, in the order in which they were given.
        places: (n,) int64: the position of each among all neurons that were given.
        width: Number of neurons of the layer, if a boolean mask says so; else None.
    """

    numbers: torch.Tensor
    places: torch.Tensor
    width: int | None


def parse_neuron(name: str) -> tuple[str, int]:
    """Return the layer and the number of a neuron.

    Args:
        name: Name of the neuron: the layer and the number from 0.

    Raises:
        NeuronspecError: If this is no name of a neuron.

    Example:
        >>> parse_neuron("decoder.3.expert.1:117")
        ('decoder.3.expert.1', 117)
    """
    layer, _, number = name.rpartition(":")
    if not number.isascii() or not number.isdecimal() or len(number) > _MOST_DIGITS:
        raise NeuronspecError(f"found the neuron {name!r:.80}: a neuron is written LAYER:NUMBER, as decoder.0:117")
    check_layers([layer])
    return layer, int(number)


def read_choice(neurons: NeuronChoice) -> dict[str, LayerChoice]:
    """Return the chosen neurons of each layer.

    Args:
        neurons: For each layer, numbers or a boolean mask (a tensor, an array or a list), or one number; or a list of
            names such as `decoder.4:117`.

    Raises:
        NeuronspecError: If nothing is chosen, a neuron is given twice, or this is no choice of neurons.

    Example:
        >>> read_choice({"decoder.0": [False, True, True]})["decoder.0"].numbers.tolist()
        [1, 2]
        >>> list(read_choice(["decoder.0:7", "encoder.1:3"]))
        ['decoder.0', 'encoder.1']
    """
    if isinstance(neurons, Mapping):
        found = _read_mapping(neurons)
    elif isinstance(neurons, Sequence) and not isinstance(neurons, str):
        found = _read_names(neurons)
    else:
        kind = type(neurons).__name__
        raise NeuronspecError(
            f"expected neurons such as {{'decoder.4': [3, 17]}} or ['decoder.4:17'], found {kind}; a task's neurons "
            "are masks.neurons('de-en')"
        )

    if not found:
        raise NeuronspecError("no neurons were chosen: give at least one, such as {'decoder.4': [17]}")
    for layer, choice in found.items():
        _check_layer(layer, choice.numbers)
    return found


def check_choice(choice: Mapping[str, LayerChoice], widths: Mapping[str, int]) -> None:
    """Refuse chosen neurons that a model does not have.

    Args:
        choice: Chosen neurons.
        widths: Number of neurons of each layer of the model.

    Raises:
        NeuronspecError: If a layer or a neuron is not there.
    """
    for layer, (numbers, _, width) in choice.items():
        if layer not in widths:
            raise NeuronspecError(
                f"the model has no layer {layer!r}{did_you_mean(layer, widths)}; it has {', '.join(widths)}"
            )
        if width is not None and width != widths[layer]:
            raise NeuronspecError(
                f"the mask of {layer} has {width} neurons, the model has {widths[layer]}: they belong to another model"
            )
        if int(numbers.max()) >= widths[layer]:
            raise NeuronspecError(
                f"no neuron {int(numbers.max())} in {layer}: its neurons are 0 to {widths[layer] - 1}"
            )


def _read_mapping(neurons: Mapping[str, Any]) -> dict[str, LayerChoice]:
    """Return the neurons that are given by layer."""
    check_layers(neurons)
    found, before = {}, 0
    for layer, given in neurons.items():
        numbers, width = _read_numbers(layer, given)
        found[layer] = LayerChoice(numbers, torch.arange(before, before + len(numbers)), width)
        before += len(numbers)
    return found


def _read_numbers(layer: str, given: Any) -> tuple[torch.Tensor, int | None]:
    """Return the numbers of a layer's chosen neurons, and the width of the layer if a mask was given."""
    try:
        values = torch.as_tensor(given).cpu()
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise NeuronspecError(f"the neurons of {layer} must be numbers or booleans, found {given!r:.60}") from error

    # One number, or several
    if values.dtype == torch.bool and values.ndim == 1:
        return values.nonzero()[:, 0], len(values)
    if values.ndim == 0 and values.dtype != torch.bool:
        values = values[None]
    if values.ndim == 1 and not len(values):  # an empty list has no type
        return values.long(), None

    if values.ndim != 1 or values.dtype == torch.bool or values.is_floating_point() or values.is_complex():
        kind = str(values.dtype).removeprefix("torch.")
        raise NeuronspecError(
            f"the neurons of {layer} must be (n,) whole numbers or a (d_ff,) boolean mask; found {kind} of shape "
            f"{tuple(values.shape)}"
        )
    return values.long().clone(), None


def _read_names(names: Iterable[Any]) -> dict[str, LayerChoice]:
    """Return the neurons that are given by names."""
    by_layer: dict[str, list[tuple[int, int]]] = {}
    for place, name in enumerate(names):
        if not isinstance(name, str):
            raise NeuronspecError(
                f"found the neuron {name!r:.60}: expected a name such as 'decoder.4:17', or {{'decoder.4': [17]}}"
            )
        layer, number = parse_neuron(name)
        by_layer.setdefault(layer, []).append((number, place))

    found = {}
    for layer, pairs in by_layer.items():
        numbers, places = zip(*pairs, strict=True)
        found[layer] = LayerChoice(torch.tensor(numbers), torch.tensor(places), None)
    return found


def _check_layer(layer: str, numbers: torch.Tensor) -> None:
    """Refuse an empty choice, negative numbers, and neurons that are given twice."""
    if not len(numbers):
        raise NeuronspecError(f"no neurons of {layer} were chosen: leave the layer out, or give at least one")
    if int(numbers.min()) < 0:
        raise NeuronspecError(f"found the neuron {int(numbers.min())} of {layer}: neurons are numbered from 0")

    values, counts = torch.unique(numbers, return_counts=True)
    if (counts > 1).any():
        raise NeuronspecError(f"the neuron {int(values[counts > 1][0])} of {layer} is given twice: give it once")
