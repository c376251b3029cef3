"""BLEU, chrF++ and TER as per-sentence statistics taken from sacrebleu.

A metric is two steps: `statistics` counts, for every sentence, what the metric needs, and `score` turns the
sum of such rows into the corpus score. Because the sum is all that a score sees, a significance test needs no
text: it sums other rows (see `neuronspec.evaluation.significance`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sacrebleu.metrics import BLEU, CHRF, TER

from neuronspec.errors import NeuronspecError, NeuronspecWarning
from neuronspec.registry import Registry

FloatArray = npt.NDArray[np.float64]


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
        build: returns sacrebleu's scorer for a target language.
        score: maps summed statistics (..., S) to corpus scores (...), for any number of leading dimensions at
            once; the scores are those of sacrebleu's `corpus_score`, to the rounding of the last digits.

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

    name: str
    higher_is_better: bool
    build: Callable[[str], Any]
    score: Callable[[FloatArray], FloatArray]

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

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str], target_language: str) -> FloatArray:
        """Count what the score needs, sentence by sentence.

        Args:
            hypotheses: the detokenized translations, one a sentence; may be empty.
            references: the detokenized reference translations in the same order.
            target_language: the language of the translations; it chooses BLEU's tokenizer.

        Returns:
            The sufficient statistics, (sentences, S) float64. Whole numbers, so sums are exact.

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
        # The one use of a private name of sacrebleu's: its own significance tests start from here too.
        rows = self.build(target_language)._extract_corpus_statistics(hypotheses, [references])
        return np.asarray(rows, dtype=np.float64)


def evaluate(
    hypotheses: Sequence[str],
    references: Sequence[str],
    target_language: str,
    metrics: Sequence[str] = ("bleu", "chrf"),
) -> list[Score]:
    """Score a set of translations against one reference each (Section 5.3 and Appendix A.6).

    Args:
        hypotheses: the detokenized translations, one a sentence.
        references: the detokenized reference translations in the same order.
        target_language: the language of the translations (`de`, `zh`, `jpn_Jpan`, ...). It chooses BLEU's
            tokenizer: `zh` for Chinese, MeCab for Japanese and Korean, otherwise `13a`. For other languages
            that are written without spaces, trust chrF++ rather than BLEU.
        metrics: names from `METRICS`.

    Returns:
        One score a metric, in the order of `metrics`.

    Raises:
        NeuronspecError: a metric is unknown, there are no sentences, or the numbers of lines differ.

    Example:
        >>> [score] = evaluate(["The cat sat."], ["The cat sat."], "en", metrics=["chrf"])
        >>> score.metric, score.value, score.sentences
        ('chrF++', 100.0, 1)
    """
    scores = []
    for metric in [METRICS[name] for name in metrics]:
        total = metric.statistics(hypotheses, references, target_language).sum(axis=0)
        signature = metric.signature(target_language)
        scores.append(Score(metric.name, float(metric.score(total)), signature, len(hypotheses)))
    return scores


TOKENIZERS = {
    **dict.fromkeys(("zh", "zho", "cmn", "yue"), "zh"),
    **dict.fromkeys(("ja", "jpn"), "ja-mecab"),
    **dict.fromkeys(("ko", "kor"), "ko-mecab"),
}


def _build_bleu(target_language: str) -> Any:
    language = target_language.strip("_").replace("_", "-").split("-")[0].lower()  # zho_Hant, __zh__, zh-TW
    tokenizer = TOKENIZERS.get(language, "13a")
    try:
        return BLEU(tokenize=tokenizer)
    except RuntimeError:  # MeCab is an extra of sacrebleu's
        extra = tokenizer.split("-")[0]
        warnings.warn(
            f"the tokenizer {tokenizer!r} is not installed, so BLEU for {target_language!r} is computed on "
            "characters (tok:char in the signature) and cannot be compared with published scores; "
            f"mend it with: pip install 'sacrebleu[{extra}]'",
            NeuronspecWarning,
            stacklevel=3,
        )
        return BLEU(tokenize="char")


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
METRICS.register("bleu")(Metric("BLEU", True, _build_bleu, _score_bleu))
METRICS.register("chrf")(Metric("chrF++", True, lambda _: CHRF(word_order=2), _score_chrf))
METRICS.register("ter")(Metric("TER", False, lambda _: TER(), _score_ter))
