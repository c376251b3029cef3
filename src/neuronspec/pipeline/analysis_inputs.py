"""The inputs of an analysis: a model and the text of its tasks, from a run or from any files."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import TooLong, Translation
from neuronspec.data.batches import Tensors
from neuronspec.data.task_format import special_ids
from neuronspec.data.texts import assign_pairs, read_columns
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.models.text_batches import make_batches
from neuronspec.neurons.activity import Activity, GatedAt
from neuronspec.pipeline.run import Run

# A part of one task's text, batch by batch: tensors, with the name of the task in place of its number
Batches = Iterator[Mapping[str, Any]]
Sides = tuple[list[str], list[str]]  # sources, references


@dataclass(frozen=True, kw_only=True)
class AnalysisInputs:
    """A model and the text of its tasks.

    Attributes:
        model: The model that the neurons belong to.
        tokenizer: The model's tokenizer.
        sizes: Number of sentences of each task that has text.
        read: Reader of a part of a task's text, in batches of that task alone. Parts have no negative ends.
        read_pairs: Reader of the sentences of such a part and their references, for a model that translates.
        special: Ids of the tokens that are no words: tags, ends of sentences.
        activity: Definition of active that the neurons were counted by.
        translation: Settings of translating.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    sizes: Mapping[str, int]
    read: Callable[[str, slice], Batches]
    read_pairs: Callable[[str, slice], Sides]
    special: Sequence[int]
    activity: Activity
    translation: Translation

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that have text."""
        return tuple(self.sizes)

    def size(self, task: str) -> int:
        """Return the number of sentences of a task.

        Raises:
            NeuronspecError: If the task has no text.
        """
        if task not in self.sizes:
            hint = did_you_mean(task, self.sizes)
            raise NeuronspecError(f"there is no text of {task}{hint}: give --text {task}=FILE")
        return self.sizes[task]


def open_run_inputs(run: Run) -> AnalysisInputs:
    """Return the model of a run, before it is specialized, and its validation text."""
    # The counts belong to the model before its continued training: the same weights are opened here.
    model = run.load_model().to(run.device)
    codec = run.open_codec(model)
    valid, texts, settings = run.open_dataset("valid", codec), run.open_texts(), run.config.record

    # The tokens come from the store, task by task; the sentences come from the text files.
    pairs = assign_pairs(run.config.directions(), run.config.pivot)
    numbers = {task.name: number for number, task in enumerate(valid.tasks)}
    formats = [task.format for task in valid.tasks]

    def read(task: str, part: slice) -> Batches:
        return name_tasks(valid.in_order(settings.tokens_per_batch, numbers[task], part), task)

    def read_pairs(task: str, part: slice) -> Sides:
        # Two opposite directions share one file of (first, second) columns; `side` is the column of the source.
        pair, side = pairs[task]
        columns = read_columns(texts.path("valid", pair))
        rows = list(itertools.islice(columns, part.start, part.stop, part.step))
        return [row[side] for row in rows], [row[1 - side] for row in rows]

    # What counts as active is what `record` counted, so that counts and analysis agree.
    return AnalysisInputs(
        model=model,
        tokenizer=codec.tokenizer,
        sizes={task: len(lengths) for task, lengths in zip(numbers, valid.lengths(), strict=True)},
        read=read,
        read_pairs=read_pairs,
        special=special_ids(formats, ("tags", "end_of_sentence")),
        activity=Activity(
            threshold=settings.threshold,
            gated_at=settings.gated_at,
            ignore=tuple(special_ids(formats, settings.ignore)),
        ),
        translation=run.config.translate,
    )


def open_text_inputs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, list[Any]],
    *,
    special: Sequence[int],
    signature: Mapping[str, str],
    translation: Translation,
    too_long: TooLong = "cut",
) -> AnalysisInputs:
    """Return any model with any text.

    Args:
        model: The model that the neurons belong to.
        tokenizer: The model's tokenizer.
        texts: Text of each task, as `make_batches` takes it.
        special: Ids of the tokens that are no words.
        signature: Signature of the activation counts, which says how they were counted; empty where there are none.
        translation: Settings of translating.
        too_long: Handling of text that is longer than the model can read.
    """

    def read(task: str, part: slice) -> Batches:
        return make_batches(model, tokenizer, {task: texts[task][part]}, too_long=too_long)

    def read_pairs(task: str, part: slice) -> Sides:
        sources, references = zip(*texts[task][part], strict=True)
        return list(sources), list(references)

    # The signature of stored counts names the ids of the ignored tokens, or says that only padding was ignored.
    ignored = signature.get("ignored", "padding")
    return AnalysisInputs(
        model=model,
        tokenizer=tokenizer,
        sizes={task: len(text) for task, text in texts.items()},
        read=read,
        read_pairs=read_pairs,
        special=special,
        activity=Activity(
            threshold=float(signature.get("threshold", 0)),
            gated_at=cast(GatedAt, signature.get("gated_at", "gate")),
            ignore=() if ignored == "padding" else tuple(int(token) for token in ignored.split()),
        ),
        translation=translation,
    )


def name_tasks(batches: Iterator[Tensors], task: str, advance: Callable[[int], None] | None = None) -> Batches:
    """Yield the batches of one task with its name in place of its number."""
    for batch in batches:
        yield {**batch, "tasks": [task] * len(batch["tasks"])}
        if advance is not None:
            advance(len(batch["tasks"]))
