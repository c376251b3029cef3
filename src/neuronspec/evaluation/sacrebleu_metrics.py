"""BLEU (also on SentencePiece's pieces and on Moses tokens), chrF++ and TER, with the numbers of sacrebleu."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.metric import Metric, MetricOptions, check_lengths
from neuronspec.evaluation.reference_counts import ReferenceCounts, count_references
from neuronspec.evaluation.tokenizers import (
    build_bleu,
    build_bleu_of,
    build_chrf,
    build_ter,
    build_tokenized_bleu,
    load_sentencepiece,
)
from neuronspec.statistics.numbers import FloatArray

CHRF_BETA = 2  # weight of recall against precision, as in sacrebleu


@dataclass(frozen=True)
class SacrebleuMetric(Metric):
    """A metric of sacrebleu: scores are those of its `corpus_score`, to the rounding of the last digits.

    Attributes:
        build: Function from a target language to sacrebleu's scorer.
        divisible: True: each worker counts tasks of its own.

    Example:
        >>> rows = BLEU.statistics(["a b c d e", "f g h i"], ["a b c d e", "f g h j"], "de")
        >>> rows.shape
        (2, 10)
        >>> round(float(BLEU.score(rows.sum(axis=0))), 2)
        79.84
        >>> BLEU.score(rows).shape
        (2,)
    """

    build: Callable[[str], Any]
    divisible: bool = field(default=True, kw_only=True)

    def signature(self, target_language: str) -> str:
        """Return sacrebleu's full signature, version included, for scores with one reference for each sentence.

        Args:
            target_language: Language of the translations; it chooses BLEU's tokenizer.

        Returns:
            The signature (`"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"`).
        """
        scorer = self.build(target_language)
        scorer.num_refs = 1  # sacrebleu sets it only when it reads references
        return str(scorer.get_signature())

    def statistics(
        self,
        hypotheses: Sequence[str],
        references: Sequence[str],
        target_language: str,
        sources: Sequence[str] | None = None,
    ) -> FloatArray:
        """Count what sacrebleu does; the counts are whole numbers, so sums are exact. Sources are ignored."""
        check_lengths(hypotheses, references)
        counts = _count_references(self.build, target_language, tuple(references))
        return counts.count(hypotheses).astype(np.float64)


@functools.lru_cache(maxsize=4)  # the same for every system; chrF++'s counts of 2,000 sentences take 40 MB
def _count_references(
    build: Callable[[str], Any], target_language: str, references: tuple[str, ...]
) -> ReferenceCounts:
    """Return the counts of the references, for the metric of the target language."""
    return count_references(build(target_language), references)


class SentencePieceBleu(SacrebleuMetric):
    """spBLEU before its SentencePiece model is known: it scores statistics, but cannot count them."""

    def list_files(self, options: MetricOptions) -> Sequence[Path]:
        """Return the SentencePiece model of the options."""
        return [Path(options.sentencepiece)] if options.sentencepiece is not None else []

    def check_files(self, options: MetricOptions) -> None:
        """Refuse a file that is no SentencePiece model."""
        for path in self.list_files(options):
            load_sentencepiece(path)

    def open(self, options: MetricOptions) -> AbstractContextManager[Metric]:
        """Return the metric with the SentencePiece model of the options.

        Raises:
            NeuronspecError: If no model is given, or it cannot be read.
        """
        if options.sentencepiece is None:
            _require_sentencepiece("")

        # Nothing has to be closed at the end.
        return nullcontext(sentencepiece_bleu(options.sentencepiece or ""))


def _require_sentencepiece(target_language: str) -> Any:
    raise NeuronspecError(
        "spbleu needs a SentencePiece model to split with; give its file: --sentencepiece, "
        "score.sentencepiece, or score(..., sentencepiece=PATH)"
    )


def sentencepiece_bleu(path: str | Path) -> Metric:
    """Return spBLEU: BLEU on the pieces of a SentencePiece model, a model of your own or a published one.

    Use it for languages that no tokenizer splits well. Scores are comparable only with the same model, so the
    signature names its file and the first 8 digits of its SHA-256 hash. With FLORES-200's model (sacrebleu keeps it
    in `~/.sacrebleu/models` after a first `sacrebleu --tokenize flores200`) the scores are those of sacrebleu's
    `flores200`.

    Args:
        path: SentencePiece model, a `.model` file.

    Returns:
        The metric. It does not depend on the target language.

    Raises:
        NeuronspecError: If the file cannot be read or is no SentencePiece model.

    Example:
        >>> spbleu = sentencepiece_bleu("pieces.model")  # doctest: +SKIP
        >>> spbleu.signature("de")  # doctest: +SKIP
        'nrefs:1|case:mixed|eff:no|tok:spm-pieces.model-0f3c9a71|smooth:exp|version:2.6.0'
    """
    split, signature = load_sentencepiece(Path(path))
    return SacrebleuMetric(
        name=SPBLEU.name,
        higher_is_better=SPBLEU.higher_is_better,
        score=SPBLEU.score,
        build=lambda _: build_bleu_of(split, signature),
    )


def _score_bleu(statistics: FloatArray) -> FloatArray:
    """Score (..., [hypothesis length, reference length, 4 matches, 4 totals]) with exponential smoothing."""
    hypothesis_length, reference_length = statistics[..., 0], statistics[..., 1]  # (...,) each
    matches, totals = statistics[..., 2:6], statistics[..., 6:10]  # (..., 4) each: n-grams of 1 to 4 tokens

    # The i-th order without a match counts as 1 / 2^i of one.
    smoothed = np.where(matches > 0, matches, 0.5 ** np.cumsum(matches == 0, axis=-1))
    precisions = 100 * smoothed / np.maximum(totals, 1)

    # Translations that are shorter than their references are penalized: precision alone would favor them.
    brevity_penalty = np.exp(np.minimum(0, 1 - reference_length / np.maximum(hypothesis_length, 1)))

    # As in sacrebleu: 0 without any match, and for texts too short for an n-gram of some order.
    is_defined = (matches > 0).any(axis=-1) & (totals > 0).all(axis=-1)
    return np.where(is_defined, brevity_penalty * np.exp(np.log(precisions).mean(axis=-1)), 0.0)


def _score_chrf(statistics: FloatArray) -> FloatArray:
    """Score (..., 8 orders x [hypothesis, reference, match]): F2 of the averaged precision and recall."""
    counts = statistics.reshape(*statistics.shape[:-1], -1, 3)  # (..., order, 3)
    hypothesis, reference, match = counts[..., 0], counts[..., 1], counts[..., 2]

    # The mean is over the orders that both sides are long enough for; the others have no match to add.
    orders = np.maximum(((hypothesis > 0) & (reference > 0)).sum(axis=-1), 1)
    precision = (match / np.maximum(hypothesis, 1)).sum(axis=-1) / orders
    recall = (match / np.maximum(reference, 1)).sum(axis=-1) / orders

    # F2: recall counts more than precision.
    weighted = CHRF_BETA**2 * precision + recall
    f_score = (1 + CHRF_BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1)
    return np.asarray(100 * f_score, dtype=np.float64)


def _score_ter(statistics: FloatArray) -> FloatArray:
    """Score (..., [edits, reference length]); without reference words, any edit makes 100."""
    edits, reference_length = statistics[..., 0], statistics[..., 1]
    return 100 * np.where(reference_length > 0, edits / np.maximum(reference_length, 1), edits > 0)


BLEU = SacrebleuMetric(
    name="BLEU",
    higher_is_better=True,
    score=_score_bleu,
    build=build_bleu,
    description="BLEU with the tokenizer of the target language",
)
CHRF = SacrebleuMetric(
    name="chrF++",
    higher_is_better=True,
    score=_score_chrf,
    build=build_chrf,
    description="chrF with word bigrams",
)
TER = SacrebleuMetric(
    name="TER",
    higher_is_better=False,
    score=_score_ter,
    build=build_ter,
    description="translation edit rate; lower is better",
)

# As in tables of IWSLT: the detokenized text, split by Moses. A language without a list of abbreviations in Moses is
# split like English; Chinese, Japanese and Korean need a tokenizer of their own (use `bleu`).
TOKENIZED_BLEU = SacrebleuMetric(
    name="tokenised BLEU",
    higher_is_better=True,
    score=_score_bleu,
    build=build_tokenized_bleu,
    description="BLEU on Moses tokens, as in tables of IWSLT",
    library="sacremoses",
    extra="moses",
)
SPBLEU = SentencePieceBleu(
    name="spBLEU",
    higher_is_better=True,
    score=_score_bleu,
    build=_require_sentencepiece,
    description="BLEU on the pieces of a SentencePiece model",
    required_option="sentencepiece",
)
