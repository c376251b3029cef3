"""The translations of a run, read when they are shown, and the words of its training text."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from itertools import islice

from neuronspec.config.schema import Config
from neuronspec.data.test_sets import read_test_set
from neuronspec.data.texts import STATISTICS_FILE, Texts, assign_pairs, read_columns
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.output_files import OutputSource
from neuronspec.evaluation.outputs import Outputs
from neuronspec.evaluation.results import Results
from neuronspec.evaluation.writing import split_words
from neuronspec.languages import split_direction
from neuronspec.names import child
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.scored_translations import read_translations
from neuronspec.report.translations import WordCounts

COUNTED = 100_000
"""Sentences of the training text, of each language, whose words are counted: enough to find the words that are rare."""


def find_outputs(config: Config, layout: Layout, results: Results) -> dict[tuple[str, str], OutputSource]:
    """Return the translations of a run's results, which are read when they are needed.

    Args:
        config: Configuration of the run.
        layout: Paths of the run.
        results: Results of its scoring. Systems that the run has not translated with have no translations.
    """

    # Systems are shown direction by direction: the test set of one is enough.
    @functools.lru_cache(maxsize=1)
    def read_sentences(task: str) -> tuple[list[str], list[str]]:
        return read_test_set(Texts.load(layout.text), task, config.directions(), config.pivot)

    def read(system: str, task: str) -> Outputs:
        path = child(layout.translations(system), task, ".txt")
        lines, (sources, references) = read_translations(path), read_sentences(task)
        if len(lines) != len(sources):
            raise NeuronspecError(
                f"{path} has {len(lines)} lines for {len(sources)} test sentences: `neuronspec run {layout.out}` "
                "translates them again"
            )
        return Outputs(tuple(lines), references=tuple(references), sources=tuple(sources), name=system)

    # Without the prepared text there is nothing to show translations next to.
    found: dict[tuple[str, str], OutputSource] = {}
    if not (layout.text / STATISTICS_FILE).is_file():
        return found

    for system, task in results.counted:
        if child(layout.translations(system), task, ".txt").is_file():
            found[system, task] = functools.partial(read, system, task)
    return found


def count_training_words(config: Config, layout: Layout) -> WordCounts | None:
    """Return how often words occur in the training text of a run; None if its text is not there.

    Args:
        config: Configuration of the run.
        layout: Paths of the run.
    """
    texts = Texts(layout.text, sizes={})
    sides = _find_sides(config)
    if not all(texts.path("train", pair).is_file() for places in sides.values() for pair, _ in places):
        return None

    @functools.cache
    def count(language: str) -> Mapping[str, int] | None:
        if language not in sides:
            return None

        files = [(texts.path("train", pair), side) for pair, side in sides[language]]
        counts: Counter[str] = Counter()
        for path, side in files:
            # The same number of sentences of each file, whose order is that of the corpus
            for columns in islice(read_columns(path), COUNTED // len(files)):
                counts.update(split_words(columns[side]))
        return counts

    return WordCounts(count=count, text=f"the training text (up to {COUNTED:,} sentences of each language)")


def _find_sides(config: Config) -> dict[str, list[tuple[str, int]]]:
    """Return the files that hold the text of each language: the pair of languages, and the column."""
    found: dict[str, dict[tuple[str, int], None]] = {}
    for task, (pair, side) in assign_pairs(config.directions(), config.pivot).items():
        source, target = split_direction(task)
        found.setdefault(source, {})[pair, side] = None
        found.setdefault(target, {})[pair, 1 - side] = None
    return {language: list(places) for language, places in found.items()}
