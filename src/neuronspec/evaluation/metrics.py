"""BLEU (also on SentencePiece's pieces and on Moses tokens), chrF++ and TER as per-sentence statistics.

A metric is two steps: `statistics` counts, for every sentence, what the metric needs, and `score` turns the
sum of such rows into the corpus score. Because the sum is all that a score sees, a significance test needs no
text: it sums other rows (see `neuronspec.statistics.paired`). The counting is sacrebleu's. A metric
that gives each sentence a number of its own, such as COMET, takes part through `mean_statistics`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sacrebleu.metrics import CHRF

from neuronspec.data.normalization import is_empty
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.evaluation.tokenizers import (
    build_bleu,
    build_bleu_of,
    build_ter,
    build_tokenized_bleu,
    load_sentencepiece,
)
from neuronspec.registry import Registry
from neuronspec.statistics.numbers import FloatArray


@dataclass(frozen=True)
class Score:
    """One metric's score of one set of translations.

    Attributes:
        metric: the metric's display name (`"BLEU"`).
        value: the corpus score, 0..100 (TER can exceed 100).
        signature: sacrebleu's signature, which says how the score was computed; report it with the score.
        sentences: how many sentences were scored.
    """

    metric: str
    value: float
    signature: str
    sentences: int


@dataclass(frozen=True)
class Metric:
    """A corpus metric that is a function of summed per-sentence statistics.

    Attributes:
        name: the display name.
        higher_is_better: False for error rates.
        score: maps summed statistics (..., S) to corpus scores (...), for any number of leading dimensions at once.
    """

    name: str
    higher_is_better: bool
    score: Callable[[FloatArray], FloatArray]

    def signature(self, target_language: str) -> str:
        """Return what a score must be reported with; see `SacrebleuMetric` and `neuronspec.evaluation.comet`."""
        raise NotImplementedError

    def statistics(
        self,
        hypotheses: Sequence[str],
        references: Sequence[str],
        target_language: str,
        sources: Sequence[str] | None = None,
    ) -> FloatArray:
        """Count what the score needs, sentence by sentence.

        Args:
            hypotheses: the detokenized translations, one a sentence; may be empty.
            references: the detokenized reference translations in the same order.
            target_language: the language of the translations; it chooses BLEU's tokenizer.
            sources: the sentences that were translated, where the metric reads them (COMET).

        Returns:
            The sufficient statistics, (sentences, S) float64.

        Raises:
            NeuronspecError: there are no sentences, or not as many hypotheses as references.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class SacrebleuMetric(Metric):
    """A metric that sacrebleu counts: scores are those of its `corpus_score`, to the rounding of the last digits.

    Attributes:
        build: returns sacrebleu's scorer for a target language.

    Example:
        >>> bleu = METRICS["bleu"]
        >>> rows = bleu.statistics(["a b c d e", "f g h i"], ["a b c d e", "f g h j"], "de")
        >>> rows.shape
        (2, 10)
        >>> round(float(bleu.score(rows.sum(axis=0))), 2)
        79.84
        >>> bleu.score(rows).shape
        (2,)
    """

    build: Callable[[str], Any]

    def signature(self, target_language: str) -> str:
        """Return sacrebleu's full signature, version included, for scores with one reference a sentence.

        Args:
            target_language: the language of the translations; it chooses BLEU's tokenizer.

        Returns:
            The signature (`"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"`).
        """
        scorer = self.build(target_language)
        scorer.num_refs = 1  # sacrebleu knows it only after it has read references
        return str(scorer.get_signature())

    def statistics(
        self,
        hypotheses: Sequence[str],
        references: Sequence[str],
        target_language: str,
        sources: Sequence[str] | None = None,
    ) -> FloatArray:
        """Count with sacrebleu; whole numbers, so sums are exact. Sources are not looked at."""
        check_lengths(hypotheses, references)
        scorer = _count_references(self.build, target_language, tuple(references))
        # Private names of sacrebleu's, used here and below only: its own significance tests start from them too.
        return np.asarray(scorer._extract_corpus_statistics(hypotheses, None), dtype=np.float64)


@functools.lru_cache(maxsize=4)  # the same for every system; chrF++'s counts of 2,000 sentences take 100 MB
def _count_references(build: Callable[[str], Any], target_language: str, references: tuple[str, ...]) -> Any:
    """Return sacrebleu's scorer with what it counts in the references."""
    scorer = build(target_language)
    scorer._ref_cache = scorer._cache_references([references])
    return scorer


def check_lengths(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Refuse translations that cannot be scored.

    Raises:
        NeuronspecError: there are no sentences, or not as many hypotheses as references.
    """
    if len(hypotheses) != len(references):
        raise NeuronspecError(
            f"there are {len(hypotheses)} hypotheses for {len(references)} references; each line needs "
            "its reference on the same line, so look for lost, empty or doubled lines"
        )
    if not hypotheses:
        raise NeuronspecError("there are no sentences to score; give at least one hypothesis and its reference")


def check_references(references: Sequence[str], where: str = "") -> None:
    """Refuse references of which none has anything to compare a translation with.

    Args:
        references: The references of a test set.
        where: Words that tell which test set it is, for the message.

    Raises:
        NeuronspecError: All references are empty.
    """
    if references and all(map(is_empty, references)):
        raise NeuronspecError(
            f"all {len(references)} references{where} are empty, so there is nothing to score against; give the file "
            "that holds the reference translations"
        )


def check_score(value: float, metric: str, where: str = "") -> None:
    """Refuse a score that is no number.

    Raises:
        NeuronspecError: The score is NaN or infinite.
    """
    if not math.isfinite(value):
        raise NeuronspecError(f"the {metric} score{where} is {value}, not a number; look for what the metric was given")


def evaluate(
    hypotheses: Sequence[str],
    references: Sequence[str],
    target_language: str,
    metrics: Sequence[str | Metric] = ("bleu", "chrf"),
    sentencepiece: str | Path | None = None,
    sources: Sequence[str] | None = None,
) -> list[Score]:
    """Score a set of translations against one reference each (Section 5.3 and Appendix A.6).

    Args:
        hypotheses: the detokenized translations, one a sentence.
        references: the detokenized reference translations in the same order.
        target_language: the language of the translations (`de`, `zh`, `jpn_Jpan`, ...). It chooses BLEU's
            tokenizer (`zh` for Chinese, MeCab for Japanese and Korean, otherwise `13a`) and TER's words
            (characters of languages without spaces, see `build_ter`). For other languages that are written
            without spaces, such as Thai, trust chrF++ and TER rather than BLEU: `warn_of_words` says so.
        metrics: names from `METRICS`, `spbleu`, or metrics themselves.
        sentencepiece: the SentencePiece model that `spbleu` splits with; see `sentencepiece_bleu`.
        sources: the sentences that were translated, for metrics that read them (COMET).

    Returns:
        One score a metric, in the order of `metrics`.

    Raises:
        NeuronspecError: a metric is unknown, there are no sentences or references, or the numbers of lines differ;
            `spbleu` has no model or a model has no `spbleu`; `tokenized_bleu` lacks sacremoses.

    Example:
        >>> [score] = evaluate(["The cat sat."], ["The cat sat."], "en", metrics=["chrf"])
        >>> score.metric, score.value, score.sentences
        ('chrF++', 100.0, 1)
    """
    if sentencepiece is not None and "spbleu" not in metrics:
        raise NeuronspecError(
            f"sentencepiece={str(sentencepiece)!r} is given, but 'spbleu' is not among the metrics; add it to them"
        )
    check_references(references)
    scores = []
    for name in metrics:
        metric = find_metric(name, sentencepiece) if isinstance(name, str) else name
        total = metric.statistics(hypotheses, references, target_language, sources).sum(axis=0)
        value = float(metric.score(total))
        check_score(value, metric.name)
        scores.append(Score(metric.name, value, metric.signature(target_language), len(hypotheses)))
    return scores


def sentencepiece_bleu(path: str | Path) -> Metric:
    """Return spBLEU: BLEU on the pieces of a SentencePiece model, a model of your own or a published one.

    Use it for languages that no tokenizer splits well. Scores compare only under one model, so the signature
    names its file and the first 8 digits of its SHA-256 hash. With FLORES-200's model (sacrebleu keeps it in
    `~/.sacrebleu/models` after a first `sacrebleu --tokenize flores200`) the scores are those of sacrebleu's
    `flores200`.

    Args:
        path: the model, a `.model` file.

    Returns:
        The metric. It needs no language, so any target language will do.

    Raises:
        NeuronspecError: the file cannot be read or is no SentencePiece model.

    Example:
        >>> spbleu = sentencepiece_bleu("pieces.model")  # doctest: +SKIP
        >>> spbleu.signature("de")  # doctest: +SKIP
        'nrefs:1|case:mixed|eff:no|tok:spm-pieces.model-0f3c9a71|smooth:exp|version:2.6.0'
    """
    split, signature = load_sentencepiece(Path(path))
    return SacrebleuMetric("spBLEU", True, _score_bleu, lambda _: build_bleu_of(split, signature))


def mean_statistics(scores: npt.ArrayLike) -> FloatArray:
    """Return the statistics of a metric that gives each sentence a score: COMET, BERTScore, human ratings.

    Args:
        scores: (sentences,), one number a sentence; COMET's `scores`, not its `system_score`.

    Returns:
        Rows of (score, 1), (sentences, 2) float64; `mean_score` turns their sum into the mean.

    Raises:
        NeuronspecError: there are no scores, not one a sentence, or one is not a finite number.

    Example:
        >>> from neuronspec.statistics.paired import paired_approximate_randomization
        >>> baseline = mean_statistics([0.61, 0.70, 0.55, 0.80, 0.66, 0.71, 0.59, 0.64])
        >>> system = mean_statistics([0.66, 0.74, 0.58, 0.83, 0.70, 0.78, 0.61, 0.70])
        >>> comparison = paired_approximate_randomization(baseline, system, mean_score, confidence=0.95)
        >>> round(comparison.difference, 4), comparison.p_value < 0.02
        (0.0425, True)
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise NeuronspecError(f"the scores have shape {values.shape}; give one number a sentence, at least one")
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise NeuronspecError(f"score {bad + 1} of {len(values)} is {values[bad]}; every sentence needs a number")
    return np.stack([values, np.ones_like(values)], axis=1)


def mean_score(statistics: FloatArray) -> FloatArray:
    """Map summed `mean_statistics` (..., 2) to mean scores (...).

    Example:
        >>> float(mean_score(mean_statistics([0.5, 1.0]).sum(axis=0)))
        0.75
    """
    return np.asarray(statistics[..., 0] / statistics[..., 1], dtype=np.float64)


def find_metric(name: str, sentencepiece: str | Path | None = None) -> Metric:
    """Return a metric that is made of its name and, for `spbleu`, of a SentencePiece model.

    Raises:
        NeuronspecError: no metric has this name, or `spbleu` lacks its model.
    """
    if name != "spbleu":
        return METRICS[name]
    if sentencepiece is None:
        raise NeuronspecError(
            "spbleu needs a SentencePiece model to split with; give its file: --sentencepiece, "
            "evaluation.sentencepiece, or evaluate(..., sentencepiece=PATH)"
        )
    return sentencepiece_bleu(sentencepiece)


def _score_bleu(statistics: FloatArray) -> FloatArray:
    """Score (..., [hypothesis length, reference length, 4 matches, 4 totals]) with exponential smoothing."""
    hypothesis_length, reference_length = statistics[..., 0], statistics[..., 1]
    matches, totals = statistics[..., 2:6], statistics[..., 6:10]
    # The i-th order without a match counts as 1 / 2^i of one.
    smoothed = np.where(matches > 0, matches, 0.5 ** np.cumsum(matches == 0, axis=-1))
    precisions = 100 * smoothed / np.maximum(totals, 1)
    brevity_penalty = np.exp(np.minimum(0, 1 - reference_length / np.maximum(hypothesis_length, 1)))
    defined = (matches > 0).any(axis=-1) & (totals > 0).all(axis=-1)
    return np.where(defined, brevity_penalty * np.exp(np.log(precisions).mean(axis=-1)), 0.0)


def _score_chrf(statistics: FloatArray) -> FloatArray:
    """Score (..., 8 orders x [hypothesis, reference, match]): F2 of the averaged precision and recall."""
    counts = statistics.reshape(*statistics.shape[:-1], -1, 3)  # (..., order, 3)
    hypothesis, reference, match = counts[..., 0], counts[..., 1], counts[..., 2]
    orders = np.maximum(((hypothesis > 0) & (reference > 0)).sum(axis=-1), 1)
    precision = (match / np.maximum(hypothesis, 1)).sum(axis=-1) / orders
    recall = (match / np.maximum(reference, 1)).sum(axis=-1) / orders
    weighted = CHRF.BETA**2 * precision + recall
    f_score = (1 + CHRF.BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1)
    return np.asarray(100 * f_score, dtype=np.float64)


def _score_ter(statistics: FloatArray) -> FloatArray:
    """Score (..., [edits, reference length]); without reference words, any edit makes 100."""
    edits, reference_length = statistics[..., 0], statistics[..., 1]
    return 100 * np.where(reference_length > 0, edits / np.maximum(reference_length, 1), edits > 0)


METRICS = Registry[Metric]("metric")
METRICS.register("bleu")(SacrebleuMetric("BLEU", True, _score_bleu, build_bleu))
METRICS.register("chrf")(SacrebleuMetric("chrF++", True, _score_chrf, lambda _: CHRF(word_order=2)))
METRICS.register("ter")(SacrebleuMetric("TER", False, _score_ter, build_ter))
# As in tables of IWSLT: the detokenized text, split by Moses. What Moses has no list of abbreviations for, it
# splits as English; Chinese, Japanese and Korean need a tokenizer of their own (use `bleu`).
METRICS.register("tokenized_bleu")(SacrebleuMetric("tokenised BLEU", True, _score_bleu, build_tokenized_bleu))

# Metrics that are made of what the user gives: their statistics are scored without it.
_MADE = (Metric("spBLEU", True, _score_bleu), Metric("COMET", True, mean_score))


def find_scoring(name: str) -> Metric:
    """Return the metric of a display name, to score and compare statistics that were counted before.

    Raises:
        NeuronspecError: no metric is called so.

    Example:
        >>> find_scoring("TER").higher_is_better
        False
    """
    known = {metric.name: metric for metric in (*METRICS.values(), *_MADE)}
    if name not in known:
        raise NeuronspecError(f"unknown metric {name!r}{did_you_mean(name, known)}; known: {', '.join(known)}")
    return known[name]
