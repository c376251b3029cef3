"""Results of systems on the test sets of tasks, stored so that any two can be compared later from files alone.

A result set is a directory: `scores.jsonl` with a line for each system, task and metric; `quality.jsonl` with the
shares of broken translations; `statistics/SYSTEM/TASK.safetensors` with what each metric counted in each sentence,
from which any score, and any significance test, can be computed without the text; and, where the set has them,
`translations/SYSTEM/TASK.jsonl` with the sentences themselves. (A run keeps its translations elsewhere.)
"""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import with_config

from neuronspec.artifacts.json_lines import LINE, read_json_lines, write_json_lines
from neuronspec.artifacts.tensor_files import read_tensors, write_tensors
from neuronspec.errors import NeuronspecError, did_you_mean, first_line
from neuronspec.evaluation.identifiers import DEFAULT_IDENTIFIER
from neuronspec.evaluation.output_files import OutputSource, read_output_file, write_output_file
from neuronspec.evaluation.outputs import Outputs
from neuronspec.evaluation.quality import OFF_TARGET, BoolArray
from neuronspec.evaluation.tokenizers import warn_of_words
from neuronspec.files import hash_json
from neuronspec.languages import split_direction
from neuronspec.names import check_names, child
from neuronspec.statistics.numbers import FloatArray

# The names of the files and of the folders of a result set.
SCORES_FILE = "scores.jsonl"
QUALITY_FILE = "quality.jsonl"
STATISTICS = "statistics"
TRANSLATIONS = "translations"


@with_config(LINE)
@dataclass(frozen=True)
class SystemScore:
    """A score of a system on the test set of a task.

    Attributes:
        system: Name of the system.
        task: Direction.
        metric: Display name of the metric (`"BLEU"`).
        score: Corpus score.
        signature: Signature of the metric, which says how the score was computed; report it with the score.
        sentences: Number of sentences that were scored.
        test_set: Hash of the references: scores of the same task are comparable only if it is the same.
        zero_shot: True if the system was not trained for the task.
    """

    system: str
    task: str
    metric: str
    score: float
    signature: str
    sentences: int
    test_set: str = ""
    zero_shot: bool = False


@with_config(LINE)
@dataclass(frozen=True)
class SystemQuality:
    """The shares of broken translations, 0..1, of a system on the test set of a task.

    The fields are those of `neuronspec.evaluation.quality.Quality`; the note says why `off_target` is None.
    The identifier is empty in results of earlier versions, which had only py3langid.
    """

    system: str
    task: str
    sentences: int
    identified: int
    off_target: float | None
    off_target_references: float | None
    empty: float
    copied: float | None
    repeated: float
    over_long: float
    off_target_note: str = ""
    identifier: str = ""


@dataclass(frozen=True)
class Results:
    """The scores of systems on tasks, with the statistics that they were computed from.

    Attributes:
        scores: Score of each system, task and metric.
        qualities: Shares of broken translations of each system and task.
        counted: Statistics of each metric, (sentences, S), by system and task; or the file that holds them.
        outputs: Translations by system and task, where they are at hand; see `read_outputs`.
    """

    scores: tuple[SystemScore, ...]
    qualities: tuple[SystemQuality, ...] = ()
    counted: Mapping[tuple[str, str], Mapping[str, FloatArray] | Path] = field(default_factory=dict)
    outputs: Mapping[tuple[str, str], OutputSource] = field(default_factory=dict)

    @property
    def systems(self) -> list[str]:
        """The systems, in order."""
        return list(dict.fromkeys(score.system for score in self.scores))

    @property
    def tasks(self) -> list[str]:
        """The tasks, in order."""
        return list(dict.fromkeys(score.task for score in self.scores))

    @property
    def metrics(self) -> list[str]:
        """The display names of the metrics, in order."""
        return list(dict.fromkeys(score.metric for score in self.scores))

    @property
    def zero_shot(self) -> set[str]:
        """The tasks that a system was not trained for."""
        return {score.task for score in self.scores if score.zero_shot}

    @property
    def warnings(self) -> list[str]:
        """Warnings about scores: metrics that count words in a language that does not separate them."""
        found = (warn_of_words(one.metric, one.signature, split_direction(one.task)[1]) for one in self.scores)
        return list(dict.fromkeys(warning for warning in found if warning))

    @property
    def signatures(self) -> list[str]:
        """Every metric with its signature, each once, and that of the language identifier."""
        metrics = {f"{score.metric}: `{score.signature}`" for score in self.scores}
        identifiers = {f"off-target: `{one.identifier}`" for one in self.qualities if one.identifier}
        return sorted(metrics) + sorted(identifiers)

    def score(self, system: str, metric: str, tasks: Sequence[str]) -> float:
        """Return a system's mean score over tasks; nan if it lacks one of them."""
        found = [self._scores.get((system, metric, task)) for task in tasks]
        values = [one.score for one in found if one is not None]
        is_complete = len(values) == len(tasks)  # a mean over fewer tasks could not be compared
        return fmean(values) if values and is_complete else math.nan

    def has(self, system: str, metric: str, task: str) -> bool:
        """Return whether a system was scored on a task."""
        return (system, metric, task) in self._scores

    def statistics(self, system: str, metric: str, task: str) -> FloatArray:
        """Return what a metric counted in each sentence, (sentences, S).

        Raises:
            NeuronspecError: If the file of the statistics is missing or damaged.
        """
        counted = self.counted[system, task]
        if isinstance(counted, Mapping):
            return counted[metric]

        # Results that were loaded know only where their statistics are
        try:
            rows = np.asarray(read_tensors(counted, "np", "statistics")[0][metric], dtype=np.float64)
        except (NeuronspecError, KeyError) as error:
            raise NeuronspecError(
                f"cannot read the statistics of {metric} from {counted}: {first_line(error)}; score the system again"
            ) from error

        # A damaged file must not end as a score of nan.
        if rows.ndim != 2 or not len(rows) or not np.isfinite(rows).all():
            found = f"have the shape {rows.shape}" if np.isfinite(rows).all() else "hold NaN or infinity"
            raise NeuronspecError(
                f"the statistics of {metric} in {counted} {found}; expected a row of finite numbers a sentence: score "
                "the system again"
            )
        return rows

    def find_foreign(self, system: str, task: str) -> dict[str, BoolArray] | None:
        """Return which translations are in another language, (sentences,), as `find_broken` does, from the scoring.

        Returns:
            An array by its kind, or no array where the languages are unknown; None if the scoring kept nothing.
        """
        own = (one for one in self.qualities if (one.system, one.task) == (system, task))
        quality = next(own, None)
        if quality is None or not quality.identifier:
            return None
        if quality.off_target is None:
            return {}
        return {OFF_TARGET: self.statistics(system, OFF_TARGET, task)[:, 0] > 0}

    def read_outputs(self, system: str, task: str) -> Outputs | None:
        """Return the translations of a system for the test set of a task; None if they are not at hand.

        Raises:
            NeuronspecError: If their file is damaged, or does not hold the sentences that were scored.
        """
        found = self.outputs.get((system, task))
        if found is None:
            return None
        outputs = found if isinstance(found, Outputs) else found()

        # A file that was changed after the scoring would show other sentences than those that were scored.
        scored = next(one for one in self.scores if (one.system, one.task) == (system, task))
        if (len(outputs.hypotheses), hash_test_set(outputs.references or ())) != (scored.sentences, scored.test_set):
            raise NeuronspecError(
                f"the sentences of {system} on {task} are not those that were scored: the test text or the "
                "translations have changed since; score the system again"
            )
        return outputs

    @cached_property
    def _scores(self) -> dict[tuple[str, str, str], SystemScore]:
        # Tables ask for single scores thousands of times.
        return {(score.system, score.metric, score.task): score for score in self.scores}

    def select(self, system: str, name: str | None = None) -> Results:
        """Return the results of one system.

        Args:
            system: Name of the system.
            name: New name of the system, by default the same.

        Raises:
            NeuronspecError: If there is no such system.
        """
        if system not in self.systems:
            raise NeuronspecError(
                f"no system {system!r}{did_you_mean(system, self.systems)}; there are {', '.join(self.systems)}"
            )

        # Scores, qualities and statistics all carry the name.
        new = name or system
        return Results(
            tuple(replace(score, system=new) for score in self.scores if score.system == system),
            tuple(replace(quality, system=new) for quality in self.qualities if quality.system == system),
            {(new, task): counted for (own, task), counted in self.counted.items() if own == system},
            {(new, task): outputs for (own, task), outputs in self.outputs.items() if own == system},
        )

    def save(self, directory: Path, *, translations: bool = True) -> None:
        """Write a result set into a directory that exists.

        Args:
            directory: Directory to write to.
            translations: Whether to write the translations as well, where they are at hand.
        """
        # A file for each system and task; the statistics of loaded results are files already, and are copied.
        for (system, task), counted in self.counted.items():
            path = _statistics_file(directory, system, task)
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(counted, Path):
                shutil.copyfile(counted, path)
            else:
                write_tensors(path, {metric: _compact(rows) for metric, rows in counted.items()})

        for system, task in self.outputs if translations else ():
            outputs = self.read_outputs(system, task)
            if outputs is not None:
                write_output_file(_translations_file(directory, system, task), outputs)

        # The scores come after the statistics, so that no score is without them.
        write_json_lines(directory / SCORES_FILE, self.scores)
        write_json_lines(directory / QUALITY_FILE, self.qualities)

    @classmethod
    def load(cls, directory: Path) -> Results:
        """Open a result set.

        Raises:
            NeuronspecError: If the directory holds none, or a file of it is damaged.
        """
        scores = read_json_lines(directory / SCORES_FILE, SystemScore)
        qualities = read_json_lines(directory / QUALITY_FILE, SystemQuality)
        if not scores:
            raise NeuronspecError(f"{directory / SCORES_FILE} is empty")

        # Names come from files that anybody may have written, and end up in paths and on terminals.
        rows: list[SystemScore | SystemQuality] = [*scores, *qualities]
        check_names([row.system for row in rows], "system", directory)
        check_names([row.task for row in rows], "task", directory)
        check_names([score.metric for score in scores], "metric", directory)
        for task in dict.fromkeys(score.task for score in scores):
            _check_task(task, directory / SCORES_FILE)

        # Statistics are read only when a test needs them.
        places = {(score.system, score.task): _statistics_file(directory, score.system, score.task) for score in scores}

        # So are translations, which not every result set has.
        outputs = {}
        for system, task in places:
            path = _translations_file(directory, system, task)
            if path.is_file():
                outputs[system, task] = functools.partial(read_output_file, path, system)

        # Merging refuses lines that contradict each other.
        return merge_results([cls(tuple(scores), tuple(qualities), places, outputs)])


def _check_task(task: str, path: Path) -> None:
    try:
        split_direction(task)
    except NeuronspecError as error:
        raise NeuronspecError(f"{path} holds the unknown direction {task!r}: {error}") from error


def _statistics_file(directory: Path, system: str, task: str) -> Path:
    return child(child(directory / STATISTICS, system), task, ".safetensors")


def _translations_file(directory: Path, system: str, task: str) -> Path:
    return child(child(directory / TRANSLATIONS, system), task, ".jsonl")


def hash_test_set(references: Sequence[str]) -> str:
    """Return what identifies a test set: 16 digits (64 bits) of the hash of its references."""
    return hash_json(list(references))[:16]


def merge_results(parts: Iterable[Results]) -> Results:
    """Return several results as one.

    Raises:
        NeuronspecError: If two of them hold the same system and task, or were scored against different references or
            in different ways.
    """
    scores: list[SystemScore] = []
    qualities: list[SystemQuality] = []
    counted: dict[tuple[str, str], Mapping[str, FloatArray] | Path] = {}
    outputs: dict[tuple[str, str], OutputSource] = {}
    for part in parts:
        scores += part.scores
        qualities += part.qualities
        for system, task in part.counted:
            if (system, task) in counted:
                raise NeuronspecError(
                    f"there are two results of {system} on {task}: give them other names, NAME=DIRECTORY, or score all "
                    "metrics at once"
                )
        counted |= part.counted
        outputs |= part.outputs

    # Contradictions may lie between parts, or between the lines of one file.
    merged = Results(tuple(scores), qualities=tuple(qualities), counted=counted, outputs=outputs)
    _check_comparable(merged.scores)
    _check_identifiers(merged.qualities)
    return merged


def _check_comparable(scores: Iterable[SystemScore]) -> None:
    """Refuse scores that come twice, or that differ in their references or signature from others of their task."""
    # What was seen before: every score, and the first of each task (for signatures, of each metric, too).
    seen: set[tuple[str, str, str]] = set()
    test_sets: dict[str, SystemScore] = {}
    signatures: dict[tuple[str, str], SystemScore] = {}

    for score in scores:
        key = (score.system, score.metric, score.task)
        if key in seen:
            raise NeuronspecError(
                f"there are two results of {score.system} on {score.task}: give them other names, NAME=DIRECTORY"
            )
        seen.add(key)

        # The first score of a task decides how the others must have been made.
        first = signatures.setdefault((score.metric, score.task), score)
        if first.signature != score.signature:
            raise NeuronspecError(
                f"{first.system} and {score.system} were scored in different ways on {score.task}: {first.signature} "
                f"and {score.signature}; score both alike"
            )

        # The same references: equal hashes, and the same number of sentences.
        first = test_sets.setdefault(score.task, score)
        if (first.test_set, first.sentences) != (score.test_set, score.sentences):
            raise NeuronspecError(
                f"{first.system} and {score.system} were scored against different references of {score.task} "
                f"({first.sentences} and {score.sentences} sentences): score both on the same test set"
            )


def _check_identifiers(qualities: Iterable[SystemQuality]) -> None:
    """Refuse shares of off-target translations of one task that two identifiers, or two versions of one, found."""
    firsts: dict[str, SystemQuality] = {}
    for quality in qualities:
        first = firsts.setdefault(quality.task, quality)
        if not _can_be_same(first.identifier, quality.identifier):
            raise NeuronspecError(
                f"the languages of {first.system} and {quality.system} on {quality.task} were identified in different "
                f"ways: {first.identifier or DEFAULT_IDENTIFIER} and {quality.identifier or DEFAULT_IDENTIFIER}; score "
                "both with the same score.identifier, or --identifier"
            )

        # One that says its version decides for those that do not.
        if not first.identifier:
            firsts[quality.task] = quality


def _can_be_same(first: str, second: str) -> bool:
    """Return whether two signatures of identifiers are equal, as far as they are known."""
    if first and second:
        return first == second
    return (first or second or DEFAULT_IDENTIFIER).partition("|")[0] == DEFAULT_IDENTIFIER


def _compact(rows: FloatArray) -> npt.NDArray[Any]:
    """Return counts as the smallest type of whole numbers that holds them; other numbers unchanged."""
    # Scores of sentences (COMET) are no counts.
    if not (rows >= 0).all() or not (rows == np.floor(rows)).all() or rows.max(initial=0) >= 2**32:
        return rows
    return rows.astype(np.min_scalar_type(int(rows.max(initial=0))))
