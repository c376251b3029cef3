"""Scoring a file of translations, and how files are read to be scored."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neuronspec.data.normalization import is_empty
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.identifiers import DEFAULT_IDENTIFIER
from neuronspec.evaluation.metric import MetricOptions
from neuronspec.evaluation.outputs import Outputs, read_outputs
from neuronspec.evaluation.quality import Quality, assess, looks_tokenized
from neuronspec.evaluation.scoring import Score, score
from neuronspec.evaluation.task_scoring import ScoreSettings
from neuronspec.evaluation.tokenizers import warn_of_words
from neuronspec.languages import expect_language

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
        identifier: Name of the language identifier that finds off-target translations; None if broken translations
            are not counted.
    """

    references: Path | None
    sources: Path | None
    metrics: Sequence[str]
    sentencepiece: Path | None = None
    comet_model: str | None = None
    detokenize: bool = False
    identifier: str | None = DEFAULT_IDENTIFIER

    @property
    def settings(self) -> ScoreSettings:
        """Settings of what is counted in the translations."""
        options = MetricOptions(sentencepiece=self.sentencepiece, comet_model=self.comet_model)
        return ScoreSettings(metrics=tuple(self.metrics), options=options, identifier=self.identifier)


def score_file(hypotheses: Path, options: ScoringOptions, language: str) -> tuple[list[Score], Quality | None]:
    """Score a file of translations, and count what metrics miss: empty, copied, repeated, off-target ones.

    Args:
        hypotheses: File of the translations: text, or a fairseq log.
        options: References, sources and metrics.
        language: Code of the language of the translations.

    Returns:
        The scores, and the shares of broken translations; None in their place if they are not counted.

    Raises:
        NeuronspecError: If the language is unknown, or the files cannot be read or do not fit each other.
    """
    expect_language(language)  # a misspelt code would choose the wrong tokenizer
    outputs = read_scored_outputs(
        hypotheses,
        references=options.references,
        sources=options.sources,
        detokenize=language if options.detokenize else None,
    )

    # `read_scored_outputs` has refused files without references.
    references = outputs.references or ()

    # The scores, then warnings about those that the language makes doubtful.
    with options.settings.open_metrics() as metrics:
        scores = score(outputs.hypotheses, references, language, metrics=metrics, sources=outputs.sources)
    for one in scores:
        warning = warn_of_words(one.metric, one.signature, language)
        if warning:
            logger.warning(warning)
    if options.identifier is None:
        return scores, None
    quality = assess(
        outputs.hypotheses,
        outputs.sources,
        references,
        target_language=language,
        identifier=options.identifier,
    )
    return scores, quality


def read_scored_outputs(
    hypotheses: Path, *, references: Path | None, sources: Path | None, detokenize: str | None
) -> Outputs:
    """Read translations with their references, and warn of references that cannot give comparable scores.

    Args:
        hypotheses: File of the translations: text, or a fairseq log.
        references: File of the references; None if the log holds them.
        sources: File of the sources; None if there is none.
        detokenize: Language in which Moses tokenization is undone; None if it is not.

    Raises:
        NeuronspecError: If there are no references, or the files cannot be read or do not fit each other.
    """
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
    if _look_tokenized(outputs.references):
        logger.warning(
            f"the references of {hypotheses} look tokenized: their scores cannot be compared with others'; "
            "give raw text"
        )
    return outputs


@functools.lru_cache(maxsize=4)  # the same for every system
def _look_tokenized(references: tuple[str, ...]) -> bool:
    return looks_tokenized(references)
