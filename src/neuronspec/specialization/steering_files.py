"""Files of steerings, in YAML or JSON: which neurons to scale or to set, and for the rows of which tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from neuronspec.config.sections import Section
from neuronspec.config.yaml_values import read_yaml
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.neuron_choice import NeuronChoice
from neuronspec.neurons.neuron_lists import read_neurons
from neuronspec.specialization.steering import Steering

_SOURCES = ("neurons", "cards", "masks")
_EXAMPLE = "neurons: {decoder.4: [3, 17]}, scale: 0"

Value = int | float
Values = Value | list[Value]


class SteeringEntry(Section):
    """One entry of a file of steerings."""

    neurons: dict[str, int | list[int] | list[bool]] | list[str] | None = None
    """Neurons by layer (numbers, or a boolean mask), or a list of names such as `decoder.4:17`."""
    cards: Path | None = None
    """Report whose cards name the neurons, or a list with one name a line."""
    language: str | None = None
    """Language whose card to read; by default all cards."""
    masks: Path | None = None
    """Masks from which to take the neurons of a task."""
    task: str | None = None
    """Task whose neurons to take from the masks."""
    stack: Literal["encoder", "decoder"] | None = None
    """Stack whose neurons to take from cards or masks; by default both."""
    scale: Values | dict[str, Values] | None = None
    """Factor on the activations: one for all neurons, one for each, or either of them by layer."""
    to: Values | dict[str, Values] | None = None
    """Value to set the activations to, in place of `scale`."""
    tasks: list[str] | None = None
    """Tasks whose rows are steered; by default all rows."""


def read_steerings(path: str | Path) -> tuple[Steering, ...]:
    """Return the steerings in a file, in the order in which they apply.

    Args:
        path: YAML or JSON file with one entry or a list of them, each with the keys of `SteeringEntry`; paths in it are
            relative to the file.

    Raises:
        NeuronspecError: If the file is missing or damaged, or an entry makes no sense; the message names the entry.
    """
    path = Path(path)
    if not path.is_file():
        raise NeuronspecError(f"there is no file of steerings {path}: write one such as {_EXAMPLE}")

    found = read_yaml(path)
    entries = found if isinstance(found, list) else [found]
    if not entries:
        raise NeuronspecError(f"{path} holds no steering: expected an entry such as {_EXAMPLE}")

    steerings = []
    for number, entry in enumerate(entries, 1):
        try:
            steerings.append(_make_steering(entry, path.parent))
        except NeuronspecError as error:
            where = f"{path}, entry {number}" if isinstance(found, list) else str(path)
            raise NeuronspecError(f"{where}: {error}") from error
    return tuple(steerings)


def _make_steering(values: Any, folder: Path) -> Steering:
    """Return the steering that an entry describes."""
    if not isinstance(values, dict):
        raise NeuronspecError(f"expected an entry such as {_EXAMPLE}, found {values!r:.60}")
    try:
        entry = SteeringEntry.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"][:2]))
        raise NeuronspecError(f"{place} cannot be {problem['input']!r:.60}: {problem['msg']}") from error

    return Steering(_read_neurons(entry, folder), scale=entry.scale, to=entry.to, tasks=entry.tasks)


def _read_neurons(entry: SteeringEntry, folder: Path) -> NeuronChoice:
    """Return the neurons that an entry names, or the place where they are named."""
    given = [name for name in _SOURCES if getattr(entry, name) is not None]
    if len(given) != 1:
        raise NeuronspecError(f"give one of {', '.join(_SOURCES)}; found {' and '.join(given) or 'none of them'}")

    # Keys that would change nothing are refused.
    [source] = given
    read = {"neurons": set(), "cards": {"language", "stack"}, "masks": {"task", "stack"}}[source]
    for name in ("language", "task", "stack"):
        if getattr(entry, name) is not None and name not in read:
            raise NeuronspecError(f"{name} changes nothing next to {source}: leave it out")

    if entry.cards is not None:
        return read_neurons(folder / entry.cards, entry.language, stack=entry.stack)
    if entry.masks is not None:
        if entry.task is None:
            raise NeuronspecError("masks needs a task whose neurons to take, such as task: de-en")
        return NeuronMasks.from_pretrained(folder / entry.masks).neurons(entry.task, entry.stack)
    assert entry.neurons is not None
    return entry.neurons
