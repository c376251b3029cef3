"""Files of examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from neuronspec.artifacts.container import Container
from neuronspec.artifacts.headers import Header, LayerNames, Names, Signature
from neuronspec.layer_names import stack_of
from neuronspec.neurons.filenames import EXAMPLES_FILE

if TYPE_CHECKING:
    from neuronspec.neurons.examples import Examples

Fields = Mapping[str, Any]  # the fields of `Examples` by name

# Fields of `Examples` with a tensor for each layer, with one for each stack, and with one for all sentences
_OF_LAYERS: Final = ("values", "sentences", "positions")
_OF_STACKS: Final = ("lengths", "tokens")
_OF_SENTENCES: Final = ("numbers", "sentence_tasks")


class ExampleHeader(Header):
    """Header of a file of examples."""

    tasks: Names
    """Names of the tasks."""
    layers: LayerNames
    """Names of the layers."""
    top: int
    """Largest number of sentences of a neuron."""
    signature: Signature
    """What else the examples depend on."""


EXAMPLES: Final = Container(
    file=EXAMPLES_FILE, holds="examples", header=ExampleHeader, remedy="find the examples again"
)


def write_examples(directory: Path, examples: Examples) -> Path:
    """Write examples into a directory and return the path of the file.

    Args:
        directory: Directory of the file, created if it does not exist.
        examples: Examples to write.
    """
    # Tensors of layers and of stacks have the name of their place in theirs.
    tensors = {
        f"{group}.{name}": tensor
        for group in (*_OF_LAYERS, *_OF_STACKS)
        for name, tensor in getattr(examples, group).items()
    }
    tensors |= {name: getattr(examples, name) for name in _OF_SENTENCES}

    header = ExampleHeader.model_construct(
        tasks=list(examples.tasks),
        layers=list(examples.layers),
        top=examples.top,
        signature=dict(examples.signature),
    )
    return EXAMPLES.save(directory / EXAMPLES_FILE, tensors, header)


def read_examples(path: Path) -> dict[str, Any]:
    """Return the fields of the examples in a file, by the names that `Examples` has for them.

    Args:
        path: Path of the file.

    Raises:
        NeuronspecError: If the file is missing, damaged, or holds no examples.
    """
    tensors, header = EXAMPLES.load(path)
    stacks = list(dict.fromkeys(stack_of(layer) for layer in header.layers))

    # The tensors under the names that `write_examples` gives them
    fields: dict[str, Any] = {"tasks": tuple(header.tasks), "top": header.top, "signature": header.signature}
    try:
        for groups, names in ((_OF_LAYERS, header.layers), (_OF_STACKS, stacks)):
            for group in groups:
                fields[group] = {name: tensors[f"{group}.{name}"] for name in names}
        fields |= {name: tensors[name] for name in _OF_SENTENCES}
    except KeyError as error:
        raise EXAMPLES.damaged(path, f"the tensor {error} is missing") from error

    # A file may come from anyone: an index outside of its tensors would show the wrong text, or none.
    if not _sentences_fit(fields) or not all(_neurons_fit(fields, layer) for layer in header.layers):
        raise EXAMPLES.damaged(path, "its neurons and sentences do not fit together")
    return fields


def _sentences_fit(fields: Fields) -> bool:
    """Return whether the sentences in a file belong together."""
    # A value can be judged only once its tensor has the right type and shape.
    return _sentence_shapes_fit(fields) and _sentence_values_fit(fields)


def _sentence_shapes_fit(fields: Fields) -> bool:
    """Return whether there is an integer for each sentence, and one for each token."""
    numbers, tasks = fields["numbers"], fields["sentence_tasks"]
    columns = (numbers, tasks, *fields["lengths"].values())  # each (sentences,)

    if any(column.dtype != torch.int64 or column.shape != (numbers.numel(),) for column in columns):
        return False
    return all(ids.dtype == torch.int32 and ids.dim() == 1 for ids in fields["tokens"].values())


def _sentence_values_fit(fields: Fields) -> bool:
    """Return whether the tasks, the numbers and the lengths of the sentences are possible ones."""
    numbers, tasks = fields["numbers"], fields["sentence_tasks"]
    lengths, tokens = fields["lengths"], fields["tokens"]

    if any((values < 0).any() for values in (numbers, tasks, *lengths.values(), *tokens.values())):
        return False
    if not all(_lengths_fit(of_sentences, len(tokens[stack])) for stack, of_sentences in lengths.items()):
        return False

    known = (tasks < len(fields["tasks"])).all()
    # They are searched as a sorted list.
    ascending = (numbers[1:] > numbers[:-1]).all()
    return bool(known and ascending)


def _lengths_fit(lengths: torch.Tensor, tokens: int) -> bool:
    """Return whether sentences of these lengths have this many tokens; the sum alone might wrap around."""
    return bool((lengths <= tokens).all() and lengths.sum() == tokens)


def _neurons_fit(fields: Fields, layer: str) -> bool:
    """Return whether the neurons of a layer refer to sentences that are there, and to tokens of these."""
    values, sentences, positions = (fields[group][layer] for group in _OF_LAYERS)

    # Shapes and types
    if (values.dtype, sentences.dtype, positions.dtype) != (torch.float32, torch.int64, torch.int64):
        return False
    if values.dim() != 2 or values.shape[1] != fields["top"]:
        return False
    if not values.shape == sentences.shape == positions.shape:
        return False

    # Places without a sentence
    some = sentences >= 0
    if (values.isnan() != ~some).any():
        return False
    if (sentences[~some] != -1).any() or (positions[~some] != -1).any():
        return False

    # Places with one
    return _tokens_are_there(fields, layer, sentences[some], positions[some])


def _tokens_are_there(fields: Fields, layer: str, sentences: torch.Tensor, positions: torch.Tensor) -> bool:
    """Return whether each of these sentences is kept, and has a token at its position."""
    if not torch.isin(sentences, fields["numbers"]).all():
        return False

    # The rows of these sentences among those that are kept
    rows = torch.searchsorted(fields["numbers"], sentences)
    lengths = fields["lengths"][stack_of(layer)][rows]
    return bool((positions >= 0).all() and (positions < lengths).all())
