"""Names of neurons in files: the cards of a report, or lists with one name a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.files import read_json, read_text
from neuronspec.layer_names import stack_of
from neuronspec.neurons.neuron_choice import parse_neuron

_CARDS_FILES = ("analysis.json", "analyze/analysis.json")  # in the directory of an analysis, and of a run


class _Card(NamedTuple):
    """The neurons on the card of a language, by names such as `decoder.4:117`."""

    label: str
    name: str
    neurons: list[str]


def read_neurons(source: str | Path, language: str | None = None, *, stack: str | None = None) -> list[str]:
    """Return the names of neurons in a file: the cards of a report, or a list with one name a line.

    Args:
        source: Directory of a run or of an analysis, its `analysis.json`, the JSON that `neuronspec analyze --json`
            prints, or a text file with a name such as `decoder.4:117` in every line.
        language: Language (or task) whose card to read, by the name or the code that the report shows; by default the
            neurons of all cards.
        stack: `encoder` or `decoder`; by default both.

    Returns:
        Names without repetition, in the order of the file; `ns.steer` takes them.

    Raises:
        NeuronspecError: If the file is missing or damaged, or has no such neurons.
    """
    path = _find_file(Path(source))
    names = _read_cards(path, language) if path.suffix == ".json" else _read_lines(path, language)

    # Names from elsewhere are checked like those of a user.
    kept = []
    for name in dict.fromkeys(names):
        try:
            layer, _ = parse_neuron(name)
        except NeuronspecError as error:
            raise NeuronspecError(f"{path}: {error}") from error
        if stack is None or stack_of(layer) == stack:
            kept.append(name)

    if not kept:
        where = f" of the {stack}" if stack else ""
        raise NeuronspecError(f"{path} names no neurons{where}: expected names such as decoder.4:117")
    return kept


def _find_file(source: Path) -> Path:
    """Return the file that names neurons."""
    places = [source / name for name in _CARDS_FILES] if source.is_dir() else [source]
    for place in places:
        if place.is_file():
            return place

    reason = f"it has no {_CARDS_FILES[0]}, which neuronspec analyze writes" if source.is_dir() else "it does not exist"
    raise NeuronspecError(f"cannot read neurons from {source}: {reason}")


def _read_cards(path: Path, language: str | None) -> list[str]:
    """Return the names on the cards of a report, or in the JSON that `neuronspec analyze --json` prints."""
    found = read_json(path)

    # What is printed has the neurons that were asked for, without the languages.
    printed = found.get("neurons") if isinstance(found, dict) else None
    if isinstance(printed, dict) and language is None:
        return list(printed)

    cards = _parse_cards(found)
    if not cards:
        raise NeuronspecError(f"{path} holds no cards of neurons: expected the analysis.json of neuronspec analyze")

    # A language has a card in each stack in which it is compared.
    chosen = [card for card in cards if language in (None, card.label, card.name)]
    if not chosen:
        known = dict.fromkeys(card.label for card in cards)
        names = dict.fromkeys(name for card in cards for name in (card.label, card.name))
        hint = did_you_mean(str(language), names)
        raise NeuronspecError(f"{path} has no card of {language!r}{hint}; it has cards of {', '.join(known)}")
    return [name for card in chosen for name in card.neurons]


def _parse_cards(found: Any) -> list[_Card]:
    """Return the cards in a report's numbers; none if they are something else."""
    try:
        return [
            _Card(str(card["label"]), str(card["name"]), [str(neuron["id"]) for neuron in card["neurons"]])
            for card in found["cards"]["languages"]
        ]
    except (KeyError, TypeError, IndexError):
        return []


def _read_lines(path: Path, language: str | None) -> list[str]:
    """Return the names in a list with one name a line; empty lines and comments (#) are left out."""
    if language is not None:
        raise NeuronspecError(f"{path} is a list of neurons without languages: leave out {language!r}")
    text = read_text(path, f"cannot read neurons from {path}: it is no text in UTF-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]
