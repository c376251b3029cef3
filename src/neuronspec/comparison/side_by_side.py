"""Sentences side by side: source, reference, and every system's translation with what was measured of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.outputs import Outputs
from neuronspec.evaluation.quality import BoolArray, find_broken, find_other_kinds
from neuronspec.evaluation.results import Results
from neuronspec.evaluation.sacrebleu_metrics import CHRF
from neuronspec.evaluation.writing import split_words
from neuronspec.languages import split_direction
from neuronspec.statistics.numbers import FloatArray

SENTENCE_METRIC = CHRF.name
"""The metric of single sentences: chrF++, since the BLEU of a single sentence is often 0."""


@dataclass(frozen=True, kw_only=True)
class SystemSentences:
    """The translations of one system for one test set.

    Attributes:
        translations: Translations, (sentences,).
        scores: Sentence chrF++ of each, as sacrebleu's `sentence_score` computes it, (sentences,).
        broken: A boolean for each sentence, (sentences,), by the kind that is broken; unknown kinds are left out.
    """

    translations: Sequence[str]
    scores: FloatArray
    broken: Mapping[str, BoolArray]

    def list_broken(self, number: int) -> list[str]:
        """Return the kinds in which a sentence is broken, by its index."""
        return [kind for kind, found in self.broken.items() if found[number]]


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """The sentences of one test set with the translations of every system.

    Attributes:
        task: Direction.
        sources: Sentences that were translated; None if they are not known.
        references: Reference translations, in the same order.
        lengths: Number of words of each source, or of each reference if the sources are not known.
        rarest: For each reference, how often its rarest word was counted; None for one without words.
        systems: Systems with translations, in the order of the results.
    """

    task: str
    sources: Sequence[str] | None
    references: Sequence[str]
    lengths: Sequence[int]
    rarest: Sequence[int | None]
    systems: Mapping[str, SystemSentences]

    def __len__(self) -> int:
        return len(self.references)

    def gains(self, baseline: str, system: str) -> FloatArray:
        """Return how much better than a baseline a system translates each sentence, in points, (sentences,)."""
        return self.systems[system].scores - self.systems[baseline].scores

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each sentence as JSON values; sentences are numbered from 1, like lines in an editor."""
        for i, reference in enumerate(self.references):
            systems = self.systems.items()
            yield {
                "direction": self.task,
                "sentence": i + 1,
                "source": None if self.sources is None else self.sources[i],
                "reference": reference,
                "words": self.lengths[i],
                "rarest_word": self.rarest[i],
                "translations": {name: one.translations[i] for name, one in systems},
                SENTENCE_METRIC: {name: round(float(one.scores[i]), 2) for name, one in systems},
                "broken": {name: one.list_broken(i) for name, one in systems},
            }


def lay_side_by_side(results: Results, task: str, frequencies: Mapping[str, int] | None = None) -> SideBySide | None:
    """Return the sentences of a direction with the translations of every system that has some at hand.

    Args:
        results: Results of the systems.
        task: Direction.
        frequencies: Number of times each word occurs in the training text, in the target language; by default, in
            the references of the direction.

    Returns:
        The sentences; None if no system has its translations at hand.

    Raises:
        NeuronspecError: If translations are not those that were scored, or a file is damaged.
    """
    found = {system: results.read_outputs(system, task) for system in results.systems}
    outputs = {system: one for system, one in found.items() if one is not None}
    if not outputs:
        return None

    # Results of the same test set have the same references; the sources need only one system that knows them.
    first, *_ = outputs.values()
    references = first.references or ()
    sources = next((one.sources for one in outputs.values() if one.sources is not None), None)

    words = [split_words(reference) for reference in references]
    if frequencies is None:
        frequencies = Counter(word for line in words for word in line)

    return SideBySide(
        task=task,
        sources=sources,
        references=references,
        lengths=list(map(len, words if sources is None else map(split_words, sources))),
        rarest=[_find_rarest(line, frequencies) for line in words],
        systems={system: _measure(results, system, task, one, sources) for system, one in outputs.items()},
    )


def _find_rarest(words: Sequence[str], frequencies: Mapping[str, int]) -> int | None:
    """Return how often the rarest word of a sentence was counted; punctuation is no word."""
    return min((frequencies.get(word, 0) for word in words if word[0].isalnum()), default=None)


def _measure(
    results: Results, system: str, task: str, outputs: Outputs, sources: Sequence[str] | None
) -> SystemSentences:
    """Return a system's translations with their scores and what is broken in them."""
    target = split_direction(task)[1]
    references = outputs.references or ()

    # The scoring knows the languages; results of earlier versions do not say which sentences are in another one.
    foreign = results.find_foreign(system, task)
    if foreign is None:
        broken = find_broken(outputs.hypotheses, sources, references, target)
    else:
        broken = foreign | find_other_kinds(outputs.hypotheses, sources, references)
    return SystemSentences(
        translations=outputs.hypotheses,
        scores=_score_sentences(results, system, task, outputs),
        broken=broken,
    )


def _score_sentences(results: Results, system: str, task: str, outputs: Outputs) -> FloatArray:
    """Return the chrF++ of each sentence, (sentences,): from the statistics of the scoring, if it counted them."""
    if not results.has(system, SENTENCE_METRIC, task):
        target = split_direction(task)[1]
        return CHRF.score(CHRF.statistics(outputs.hypotheses, outputs.references or (), target))

    # The first statistic is the number of the translation's characters, without white space.
    rows = results.statistics(system, SENTENCE_METRIC, task)
    characters = np.array([len("".join(text.split())) for text in outputs.hypotheses])
    if not np.array_equal(rows[:, 0], characters):
        raise NeuronspecError(
            f"the translations of {system} for {task} are not those that were scored: score the system again"
        )
    return CHRF.score(rows)
