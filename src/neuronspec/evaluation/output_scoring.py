"""Scoring files of translations: a single one, or one for each direction of a grid."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from neuronspec.data.normalization import is_empty
from neuronspec.data.templates import fill_template, find_file, find_tasks
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.identifiers import DEFAULT_IDENTIFIER
from neuronspec.evaluation.metric import Metric, MetricOptions
from neuronspec.evaluation.outputs import Outputs, read_outputs
from neuronspec.evaluation.quality import Quality, assess, looks_tokenized
from neuronspec.evaluation.results import Results, merge_results
from neuronspec.evaluation.scoring import Score, open_metrics, score, score_task
from neuronspec.evaluation.tokenizers import warn_of_words
from neuronspec.languages import expect_language, spell_pivot, split_direction
from neuronspec.names import check_names
from neuronspec.progress import show_progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """The references of translations, and the settings of their scores.

    Attributes:
        references: File of the references, or its template for a grid: `flores.{tgt}`. A fairseq log has its own.
        sources: File of the translated sentences, or its template; needed to count copies, and by COMET.
        metrics: Names of the metrics.
        sentencepiece: SentencePiece model of the metric `spbleu`.
        comet_model: Model of COMET; its default if not given.
        detokenize: Whether to undo Moses tokenization of the translations, and of a log's references.
        identifier: Name of the language identifier that finds off-target translations.
    """

    references: Path | None
    sources: Path | None
    metrics: Sequence[str]
    sentencepiece: Path | None = None
    comet_model: str | None = None
    detokenize: bool = False
    identifier: str = DEFAULT_IDENTIFIER

    def open_metrics(self) -> AbstractContextManager[list[Metric]]:
        """Return the metrics, which stay loaded while the context is open."""
        options = MetricOptions(sentencepiece=self.sentencepiece, comet_model=self.comet_model)
        return open_metrics(self.metrics, options)


def score_file(hypotheses: Path, options: ScoringOptions, language: str) -> tuple[list[Score], Quality]:
    """Score a file of translations, and count what metrics miss: empty, copied, repeated, off-target ones.

    Args:
        hypotheses: File of the translations: text, or a fairseq log.
        options: References, sources and metrics.
        language: Code of the language of the translations.

    Raises:
        NeuronspecError: If the language is unknown, or the files cannot be read or do not fit each other.
    """
    expect_language(language)  # a misspelt code would choose the wrong tokenizer
    outputs = _read_outputs(
        hypotheses,
        references=options.references,
        sources=options.sources,
        detokenize=language if options.detokenize else None,
    )

    # `_read_outputs` has refused files without references.
    references = outputs.references or ()

    # The scores, then warnings about those that the language makes doubtful.
    with options.open_metrics() as metrics:
        scores = score(outputs.hypotheses, references, language, metrics=metrics, sources=outputs.sources)
    for one in scores:
        warning = warn_of_words(one.metric, one.signature, language)
        if warning:
            logger.warning(warning)
    identifier = options.identifier
    quality = assess(outputs.hypotheses, outputs.sources, references, target_language=language, identifier=identifier)
    return scores, quality


def score_grid(hypotheses: Path, options: ScoringOptions, tasks: Sequence[str], *, system: str, pivot: str) -> Results:
    """Score the translations of a grid of directions, one file each.

    Args:
        hypotheses: Template of the translations: `out/{task}.txt`.
        options: References, sources and metrics.
        tasks: Directions of the grid; see `find_grid`.
        system: Name of the system that translated.
        pivot: Language that all trained directions share; other directions are zero-shot.

    Raises:
        NeuronspecError: If files cannot be read or do not fit each other.
    """
    # The pivot as the tasks spell it, so that it can be found among their languages.
    pivot = spell_pivot(tasks, pivot)
    parts = []
    with show_progress("scoring", len(tasks)) as advance, options.open_metrics() as metrics:
        for task in tasks:
            sides = split_direction(task)

            # The files of one direction: translations and references in its target, sources in its source.
            outputs = _read_outputs(
                find_file(hypotheses, task, "tgt"),
                references=options.references and find_file(options.references, task, "tgt"),
                sources=options.sources and find_file(options.sources, task, "src"),
                detokenize=sides[1] if options.detokenize else None,
            )

            # Directions without the pivot are zero-shot.
            part = score_task(
                system=system,
                task=task,
                hypotheses=outputs.hypotheses,
                references=outputs.references or (),
                metrics=metrics,
                sources=outputs.sources,
                zero_shot=pivot not in sides,
                identifier=options.identifier,
            )
            parts.append(part)
            advance()

    # Each warning once, not once for every direction.
    results = merge_results(parts)
    for warning in results.warnings:
        logger.warning(warning)
    return results


def find_grid(hypotheses: Path, references: Path | None) -> list[str]:
    """Return the directions that have a file of translations.

    Args:
        hypotheses: Template of the translations.
        references: Template of the references.

    Raises:
        NeuronspecError: If there is none, or translations into different languages would have the same references.
    """
    tasks = find_tasks(hypotheses)
    check_names(tasks)
    if references is None:
        return tasks

    # Without {tgt} in the template, French translations would be scored against German references.
    languages: dict[Path, str] = {}
    for task in tasks:
        place, target = fill_template(references, task, "tgt"), split_direction(task)[1]
        if languages.setdefault(place, target) != target:
            raise NeuronspecError(
                f"--references {references} gives translations into {languages[place]} and {target} the same file: "
                "write {tgt} in it"
            )
    return tasks


def _read_outputs(
    hypotheses: Path, *, references: Path | None, sources: Path | None, detokenize: str | None
) -> Outputs:
    """Read translations with their references, and warn of references that cannot give comparable scores."""
    outputs = read_outputs(hypotheses, references=references, sources=sources, detokenize=detokenize)
    if outputs.references is None:
        raise NeuronspecError(f"{hypotheses} holds no references: give a configuration, or --references FILE")

    # Empty references are scored all the same: leaving them out would change the test set
    empty = sum(map(is_empty, outputs.references))
    if empty:
        logger.warning(
            f"{empty} of the {len(outputs.references)} references of {hypotheses} are empty: any translation of those "
            "sentences counts as wrong"
        )

    # Broken words match more easily, which raises scores.
    if looks_tokenized(outputs.references):
        logger.warning(
            f"the references of {hypotheses} look tokenized: their scores cannot be compared with others'; "
            "give raw text"
        )
    return outputs
