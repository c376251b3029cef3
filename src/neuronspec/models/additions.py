"""Languages that were added to a model: which tasks came when, and how large the model was before.

A model that grows keeps what it computes for its earlier tasks: they use the neurons and the tokens that were there
before. The configuration of the model says how many these were, so that everything that opens the model knows it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Final

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from transformers import PretrainedConfig, PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.languages import match_direction, match_language, split_direction
from neuronspec.models.encoding import TextSide

ADDITIONS: Final = "added_languages"  # key of the configuration
_ALIGNMENT = 64  # bytes: a cache line, the alignment of memory that PyTorch allocates

Count = Annotated[int, Field(gt=0, strict=True)]


class Addition(BaseModel):
    """Languages that were added together, and the sizes of the model before.

    Attributes:
        languages: Codes of the languages, as the run spelled them; empty if only directions were added.
        tasks: Directions that were added.
        vocabulary: Number of tokens that the model had embeddings for.
        pieces: Number of pieces of a Unigram tokenizer; None if no pieces were added.
        widths: Number of neurons of each FFN layer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    languages: tuple[str, ...]
    tasks: tuple[str, ...] = Field(min_length=1)
    vocabulary: Count
    pieces: Count | None = None
    widths: dict[str, Count] = Field(min_length=1)


_LIST = TypeAdapter(tuple[Addition, ...])


def read_additions(config: PretrainedConfig) -> tuple[Addition, ...]:
    """Return the languages that were added to a model, the first ones first; none for most models.

    Args:
        config: Configuration of the model.

    Raises:
        NeuronspecError: If the entry in the configuration is damaged.
    """
    stored = getattr(config, ADDITIONS, None)
    if stored is None:
        return ()

    try:
        additions = _LIST.validate_python(stored)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise NeuronspecError(
            f"the model's configuration is damaged: {ADDITIONS}.{place}: {problem['msg']}; copy config.json again"
        ) from error

    _check_order(additions)
    return additions


def _check_order(additions: Sequence[Addition]) -> None:
    """Refuse sizes that shrink: a model only grows."""
    for earlier, later in itertools.pairwise(additions):
        same_layers = earlier.widths.keys() == later.widths.keys()
        grows = same_layers and all(earlier.widths[layer] <= later.widths[layer] for layer in earlier.widths)
        if not grows or earlier.vocabulary > later.vocabulary:
            raise NeuronspecError(
                f"the model's configuration is damaged: {ADDITIONS} has sizes that shrink; copy config.json again"
            )


def write_additions(config: PretrainedConfig, additions: Sequence[Addition]) -> None:
    """Store in a configuration which languages were added to its model."""
    if additions:
        setattr(config, ADDITIONS, [addition.model_dump(mode="json") for addition in additions])
    else:
        config.__dict__.pop(ADDITIONS, None)


def find_level(additions: Sequence[Addition], task: str, side: TextSide = "target") -> int:
    """Return after how many additions one side of a task can be translated: 0 for what the model knew at first.

    A side of a direction that was not trained has the level of its own language.

    Args:
        additions: Languages that were added to the model.
        task: Direction, or any other name of a task.
        side: Side of the task.
    """
    for number, addition in enumerate(additions, 1):
        if match_direction(task, addition.tasks) is not None:
            return number

    try:
        source, target = split_direction(task)
    except NeuronspecError:  # no direction
        return 0

    language = source if side == "source" else target
    for number, addition in enumerate(additions, 1):
        if match_language(language, addition.languages) is not None:
            return number
    return 0


def find_task_level(additions: Sequence[Addition], task: str) -> int:
    """Return after how many additions both sides of a task can be translated."""
    sides: tuple[TextSide, ...] = ("source", "target")
    return max(find_level(additions, task, side) for side in sides)


def find_vocabulary_limit(additions: Sequence[Addition], task: str, side: TextSide = "target") -> int | None:
    """Return how many tokens a side of a task can use, those with the lowest ids; None for all."""
    level = find_level(additions, task, side)
    return additions[level].vocabulary if level < len(additions) else None


def list_bounds(sizes: Sequence[int], now: int) -> tuple[int, ...]:
    """Return the sizes of something that has grown, each once: those before each addition, and that of now.

    Example:
        >>> list_bounds([512, 512], 576)
        (512, 576)
    """
    return tuple(dict.fromkeys([*sizes, now]))


@torch.no_grad()
def align_weights(model: PreTrainedModel) -> PreTrainedModel:
    """Move the weights of a model to aligned memory, in place, and return the model.

    Weights that were read from a file lie where the file has them. There, the last bit of a product with a single
    vector can depend on the place, so that two files with the same weights would give different outputs.
    """
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % _ALIGNMENT:
            tensor.data = tensor.data.clone(memory_format=torch.preserve_format)
    return model
