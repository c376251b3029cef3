"""Steering: chosen neurons of a model are scaled, set or switched off while a context is open."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.languages import match_direction
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.neuron_choice import LayerChoice, NeuronChoice, check_choice, read_choice
from neuronspec.specialization.routing import find_router
from neuronspec.specialization.steered_model import (
    Change,
    SteeredModel,
    forget_compiled,
    look_through,
    mark_steered,
)

Values = float | Sequence[float] | torch.Tensor
NeuronValues = Values | Mapping[str, Values]


class Steering:
    """A change of chosen neurons, for any model that has them: their activations are scaled, or set.

    Immutable. A steering belongs to no model; `steer` applies it to one.

    Args:
        neurons: For each layer, the numbers of its neurons or a boolean mask, as a tensor, an array or a list; or a
            list of names such as `decoder.4:117` (`ns.read_neurons` reads them from the cards of a report). A task's
            neurons are `masks.neurons("de-en")`.
        scale: Factor on the activations; 0 switches the neurons off. One number for all neurons; or one for each, in
            the order in which they are given (those of a boolean mask ascending); or either of them by layer.
        to: Value to set the activations to, in place of `scale` and given like it.
        tasks: Tasks whose rows are steered, in a model that knows the task of every row; by default all rows.

    Attributes:
        neurons: For each layer, (n,) int64 numbers of neurons.
        values: For each layer, (n,) float64: the factor or the value of each of them.
        sets: Whether the activations are set, and not scaled.
        tasks: Tasks whose rows are steered; None for all rows.

    Raises:
        NeuronspecError: If no neurons or no tasks are given, a neuron is given twice, not exactly one of `scale` and
            `to` is given, or there is a value that is not finite.

    Example:
        >>> steering = Steering({"decoder.4": [3, 17]}, scale=[0, 2.5], tasks=["en-de"])
        >>> steering.values["decoder.4"].tolist(), steering.tasks
        ([0.0, 2.5], ('en-de',))
        >>> Steering(["decoder.4:17", "encoder.0:2"], to=0.5)
        Steering(2 neurons in 2 layers, set, all tasks)
    """

    def __init__(
        self,
        neurons: NeuronChoice,
        *,
        scale: NeuronValues | None = None,
        to: NeuronValues | None = None,
        tasks: Sequence[str] | None = None,
    ) -> None:
        self._choice = read_choice(neurons)
        if (scale is None) == (to is None):
            found = "neither of them" if scale is None else "both"
            raise NeuronspecError(
                f"give scale= (0 switches the neurons off) or to= (the value to set them to); found {found}"
            )

        self.sets = to is not None
        given = to if to is not None else scale
        assert given is not None
        self.neurons = {layer: choice.numbers for layer, choice in self._choice.items()}
        self.values = _read_values(given, self._choice, "to" if self.sets else "scale")
        self.tasks = _read_tasks(tasks)

    @property
    def choice(self) -> Mapping[str, LayerChoice]:
        """The chosen neurons, with the widths of the layers whose neurons were given as a mask."""
        return self._choice

    def as_dict(self) -> dict[str, Any]:
        """Return the steering as JSON values, as an entry of a file has them."""
        return {
            "neurons": {layer: numbers.tolist() for layer, numbers in self.neurons.items()},
            "to" if self.sets else "scale": {layer: values.tolist() for layer, values in self.values.items()},
            "tasks": None if self.tasks is None else list(self.tasks),
        }

    def everywhere(self) -> Steering:
        """Return the same steering for all rows."""
        steering = copy.copy(self)
        steering.tasks = None
        return steering

    def applies_to(self, task: str) -> bool:
        """Return whether the rows of a task are steered; the task may be spelled in another way."""
        return self.tasks is None or match_direction(task, self.tasks) is not None

    def __repr__(self) -> str:
        neurons, layers = sum(map(len, self.neurons.values())), len(self.neurons)
        counts = f"{neurons} neuron{'s' * (neurons != 1)} in {layers} layer{'s' * (layers != 1)}"
        return f"Steering({counts}, {'set' if self.sets else 'scaled'}, {', '.join(self.tasks or ['all tasks'])})"


@contextlib.contextmanager
def steer(
    model: PreTrainedModel,
    neurons: NeuronChoice | Steering,
    *,
    scale: NeuronValues | None = None,
    to: NeuronValues | None = None,
    tasks: Sequence[str] | None = None,
) -> Iterator[PreTrainedModel]:
    """Scale, set or switch off chosen neurons, inside a `with` statement.

    The neurons are the entries of the vector that enters the second FFN matrix, after the activation function; for
    gated units, their product with the gate. Masks come first: what they switch off, `scale` leaves off, and `to` sets
    all the same. Contexts can be nested: they apply in the order in which they were entered, so that the last one
    decides. Afterwards the model is as it was, whatever happened inside.

    Args:
        model: Model in which `find_ffn_layers` finds FFN blocks; specialized or not, also inside PEFT's wrapping or
            compiled. Its weights are not changed.
        neurons: Neurons, as `Steering` takes them; or a `Steering`, which says everything else.
        scale: Factor on their activations; 0 switches them off.
        to: Value to set their activations to, in place of `scale`.
        tasks: Tasks whose rows are steered, in a specialized model; by default all rows. The batches can mix tasks.

    Yields:
        The model.

    Raises:
        NeuronspecError: If the model has no such layer, neuron or task, or the arguments make no sense; and, when the
            model computes, if it was specialized or wrapped inside the context, or trains with checkpoints of its
            activations.

    Example:
        `with steer(model, {"decoder.4": [3, 17]}, scale=0, tasks=["en-de"]): model.generate(**inputs, tasks=tasks)`
    """
    steering = _choose_steering(neurons, scale=scale, to=to, tasks=tasks)
    base = look_through(model)
    layers = find_ffn_layers(base)
    check_choice(steering.choice, {layer.name: layer.width for layer in layers})

    # The tasks of rows are known to what makes a model depend on tasks.
    router = find_router(base)
    if steering.tasks is not None:
        if router is None:
            raise NeuronspecError(
                "this model does not know the tasks of its rows, because it is not specialized: leave out tasks= to "
                "steer every row, or call neuronspec.specialize(model, masks) first"
            )
        for name in steering.tasks:
            router.task_index(name)

    changes = {
        layer.name: Change.make(layer, steering.neurons[layer.name], steering.values[layer.name], sets=steering.sets)
        for layer in layers
        if layer.name in steering.neurons
    }
    with mark_steered(base), forget_compiled(), SteeredModel(base, layers, changes, router, steering.tasks).attached():
        yield model


def _choose_steering(neurons: NeuronChoice | Steering, **more: Any) -> Steering:
    """Return a given steering, or the one that the arguments describe."""
    if not isinstance(neurons, Steering):
        return Steering(neurons, **more)

    given = [name for name, value in more.items() if value is not None]
    if given:
        raise NeuronspecError(f"a Steering says everything itself: leave out {', '.join(given)}")
    return neurons


def _read_tasks(tasks: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the tasks whose rows are steered."""
    if tasks is None:
        return None

    is_list = isinstance(tasks, Sequence) and not isinstance(tasks, str)
    if not is_list or not tasks or not all(isinstance(name, str) for name in tasks):
        raise NeuronspecError(
            f"tasks must be a list of one name or more, such as ['en-de'], found {tasks!r:.60}; leave it out to steer "
            "all rows"
        )
    return tuple(tasks)


def _read_values(given: NeuronValues, choice: Mapping[str, LayerChoice], what: str) -> dict[str, torch.Tensor]:
    """Return the (n,) float64 value of each chosen neuron, by layer."""
    if isinstance(given, Mapping):
        if given.keys() != choice.keys():
            raise NeuronspecError(
                f"{what} has values for {', '.join(map(str, given)) or 'no layer'}; the neurons are in "
                f"{', '.join(choice)}"
            )
        return {
            layer: _expand(_to_tensor(given[layer], what), len(chosen.numbers), f"{what} of {layer}")
            for layer, chosen in choice.items()
        }

    # One value for all neurons, or as many as there are neurons
    total = sum(len(chosen.numbers) for chosen in choice.values())
    values = _expand(_to_tensor(given, what), total, what)
    return {layer: values[chosen.places] for layer, chosen in choice.items()}


def _to_tensor(given: Any, what: str) -> torch.Tensor:
    """Return numbers as float64, of whatever shape; anything else is refused."""
    try:
        kind = torch.as_tensor(given).dtype
        values = torch.as_tensor(given, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise NeuronspecError(f"{what} must be a number, or one for each neuron; found {given!r:.60}") from error

    if kind == torch.bool or kind.is_complex:
        raise NeuronspecError(f"{what} must be a number, or one for each neuron; found {given!r:.60}")
    bad = ~values.isfinite()
    if bad.any():
        raise NeuronspecError(f"{what} holds {float(values[bad].flatten()[0])}; expected finite numbers")
    return values


def _expand(values: torch.Tensor, size: int, what: str) -> torch.Tensor:
    """Return a value for each neuron, from one for all or one for each."""
    if values.ndim == 0:
        return values.expand(size).clone()
    if values.shape != (size,):
        raise NeuronspecError(
            f"{what} has the shape {tuple(values.shape)} for {size} neurons: expected one number, or one for each"
        )
    return values.clone()
