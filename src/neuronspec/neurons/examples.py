"""Examples: the sentences that activate each neuron most, and the token at which they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.layer_names import stack_of
from neuronspec.models.encoding import TextSide
from neuronspec.neurons.example_files import EXAMPLES, read_examples, write_examples
from neuronspec.neurons.token_display import show_tokens
from neuronspec.neurons.token_text import TokenPlace, place_token


@dataclass(frozen=True)
class Example:
    """A sentence that activates a neuron.

    Args:
        task: Task of the sentence.
        tokens: Tokens of the sentence as the neuron's stack reads them, made readable.
        position: Index of the token that activates the neuron most.
        value: Activation at this token.
        place: The sentence as text, and the place of this token in it.
    """

    task: str
    tokens: list[str]
    position: int
    value: float
    place: TokenPlace


@dataclass(frozen=True, repr=False, kw_only=True)
class Examples:
    """For every neuron the sentences that activate it most, the highest activation first.

    Sentences are numbered in the order in which they were read. The tokens of a sentence are kept if it is an example
    of any neuron.

    Args:
        tasks: Names of the tasks.
        top: Largest number of sentences of a neuron.
        values: For each layer, (d_ff, top) float32: the largest activation in the sentence; NaN if there are fewer.
        sentences: For each layer, (d_ff, top) int64: the number of the sentence; -1 if there are fewer.
        positions: For each layer, (d_ff, top) int64: the index of the token in the sentence, as the stack reads it,
            without padding; -1 if there are fewer.
        numbers: (kept,) int64: the numbers of the sentences whose tokens are kept, ascending.
        sentence_tasks: (kept,) int64: the index of the task of each of them.
        lengths: For each stack, (kept,) int64: the number of tokens that the stack reads of each.
        tokens: For each stack, the token ids of all of them, one sentence after the other: (sum of lengths,) int32.
        signature: Everything else that the examples depend on (threshold, ignored tokens, model and data hashes), as
            strings.
    """

    tasks: tuple[str, ...]
    top: int
    values: Mapping[str, torch.Tensor]
    sentences: Mapping[str, torch.Tensor]
    positions: Mapping[str, torch.Tensor]
    numbers: torch.Tensor
    sentence_tasks: torch.Tensor
    lengths: Mapping[str, torch.Tensor]
    tokens: Mapping[str, torch.Tensor]
    signature: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Examples({len(self.tasks)} tasks, {len(self.values)} layers, top {self.top})"

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(self.values)

    def show(self, layer: str, neuron: int, tokenizer: PreTrainedTokenizerBase) -> list[Example]:
        """Return the examples of a neuron with readable tokens.

        Args:
            layer: Name of the layer.
            neuron: Index of the neuron.
            tokenizer: Tokenizer of the model.

        Returns:
            At most `top` examples, the highest activation first, with the tokens that `show_tokens` returns.

        Raises:
            NeuronspecError: If there is no such layer or neuron, or the tokenizer belongs to another model.
        """
        if layer not in self.values:
            raise NeuronspecError(f"there is no layer {layer!r}{did_you_mean(layer, self.layers)}")

        width = len(self.values[layer])
        if not 0 <= neuron < width:
            raise NeuronspecError(f"{layer} has neurons 0 to {width - 1}, not {neuron}")

        # Each stack may have a vocabulary of its own.
        stack = stack_of(layer)
        side: TextSide = "source" if stack == "encoder" else "target"

        # The places of this neuron, the best one first
        columns = (named[layer][neuron].tolist() for named in (self.sentences, self.positions, self.values))

        shown = []
        for number, position, value in zip(*columns, strict=True):
            if number < 0:  # fewer sentences activate it
                continue

            # The sentence among those that are kept, which are sorted by number
            row = int(torch.searchsorted(self.numbers, number))
            task = self.tasks[int(self.sentence_tasks[row])]
            ids = self._ids_of(stack, row)
            tokens = show_tokens(tokenizer, ids, side)
            place = place_token(tokenizer, ids, position, side)
            shown.append(Example(task=task, tokens=tokens, position=position, value=value, place=place))
        return shown

    def _ids_of(self, stack: str, row: int) -> list[int]:
        """Return the token ids of a kept sentence as a stack reads them."""
        lengths = self.lengths[stack]

        # The tokens of all kept sentences lie one after the other.
        start = int(lengths[:row].sum())
        ids: list[int] = self.tokens[stack][start : start + int(lengths[row])].tolist()
        return ids

    def save(self, directory: Path) -> Path:
        """Write `activation_examples.safetensors` into a directory and return its path.

        Args:
            directory: Directory of the file, created if it does not exist.
        """
        return write_examples(directory, self)

    @classmethod
    def load(cls, source: str | Path) -> Examples:
        """Read examples from a directory or a file.

        Args:
            source: Path of the directory or of the file.

        Raises:
            NeuronspecError: If the file is missing, damaged, or holds no examples.
        """
        return cls(**read_examples(EXAMPLES.path_in(source)))
