"""What an analysis reads: a model and the text of its tasks, those of a run or of any files."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.schema import Config
from neuronspec.config.sections import TooLong, Translation
from neuronspec.data.task_format import special_ids
from neuronspec.data.texts import Texts, assign_pairs, read_columns
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.models.text_batches import make_batches
from neuronspec.pipeline import work
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.tokens import open_dataset

Batches = Iterator[Mapping[str, Any]]
Pairs = tuple[list[str], list[str]]  # sources, references


@dataclass(frozen=True)
class Material:
    """A model and the text of its tasks.

    Attributes:
        model: that the neurons are of.
        tokenizer: the model's.
        sizes: how many sentences there are of each task that there is text of.
        read: a part of the text of a task in batches of that task alone. Parts have no negative ends.
        read_pairs: the sentences of such a part and their references, of a model that translates.
        special: ids of tokens that are no words: tags, ends of sentences.
        watching: how the neurons were counted (`threshold`, `gated_at`, `ignore`), to look at them alike.
        translation: how to translate.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    sizes: Mapping[str, int]
    read: Callable[[str, slice], Batches]
    read_pairs: Callable[[str, slice], Pairs]
    special: Sequence[int]
    watching: Mapping[str, Any]
    translation: Translation

    @property
    def tasks(self) -> tuple[str, ...]:
        """Those that there is text of."""
        return tuple(self.sizes)

    def size(self, task: str) -> int:
        """Return how many sentences there are of a task.

        Raises:
            NeuronspecError: there is no text of it.
        """
        if task not in self.sizes:
            raise NeuronspecError(
                f"there is no text of {task}{did_you_mean(task, self.sizes)}: give --text {task}=FILE"
            )
        return self.sizes[task]


def open_run(config: Config, layout: Layout) -> Material:
    """Return the pretrained model of a run and its validation text."""
    model, tokenizer = work.to_device(load_model(layout.model(PRETRAINED)), config), load_tokenizer(layout.vocabulary)
    valid = open_dataset(config, layout, "valid", TextCodec(tokenizer, model.config))
    texts, pairs = Texts.load(layout.text), assign_pairs(config.directions(), config.pivot)
    numbers = {task.name: number for number, task in enumerate(valid.tasks)}
    formats, recording = [task.format for task in valid.tasks], config.record

    def read(task: str, part: slice) -> Batches:
        return work.name_tasks(valid.in_order(recording.tokens_per_batch, numbers[task], part), task)

    def read_pairs(task: str, part: slice) -> Pairs:
        pair, side = pairs[task]
        rows = list(itertools.islice(read_columns(texts.path("valid", pair)), part.start, part.stop, part.step))
        return [row[side] for row in rows], [row[1 - side] for row in rows]

    watching = {
        "threshold": recording.threshold,
        "gated_at": recording.gated_at,
        "ignore": special_ids(formats, recording.ignore),
    }
    special = special_ids(formats, ("tags", "end_of_sentence"))
    sizes = {task: len(lengths) for task, lengths in zip(numbers, valid.lengths(), strict=True)}
    return Material(model, tokenizer, sizes, read, read_pairs, special, watching, config.translate)


def open_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, list[Any]],
    special: Sequence[int],
    signature: Mapping[str, str],
    translation: Translation,
    too_long: TooLong = "cut",
) -> Material:
    """Return any model with any text.

    Args:
        model: that the neurons are of.
        tokenizer: the model's.
        texts: for each task its text, as `make_batches` takes it.
        special: ids of tokens that are no words.
        signature: of the activation counts, which says how they were counted; empty where there are none.
        translation: how to translate.
        too_long: what becomes of text that is longer than the model can read.
    """

    def read(task: str, part: slice) -> Batches:
        return make_batches(model, tokenizer, {task: texts[task][part]}, too_long=too_long)

    def read_pairs(task: str, part: slice) -> Pairs:
        sources, references = zip(*texts[task][part], strict=True)
        return list(sources), list(references)

    ignored = signature.get("ignored", "padding")
    watching = {
        "threshold": float(signature.get("threshold", 0)),
        "gated_at": signature.get("gated_at", "gate"),
        "ignore": [] if ignored == "padding" else list(map(int, ignored.split())),
    }
    sizes = {task: len(text) for task, text in texts.items()}
    return Material(model, tokenizer, sizes, read, read_pairs, special, watching, translation)
