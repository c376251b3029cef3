"""The interface of a metric: statistics of each sentence, and a score of their sum.

A metric is two steps: `statistics` counts, for every sentence, what the metric needs, and `score` turns the sum of
such rows into the corpus score. Because a score depends only on the sum, a significance test needs no text: it sums
other rows (see `neuronspec.statistics.paired`). A metric that gives each sentence a number of its own, such as COMET,
takes part through `mean_statistics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neuronspec.data.reading_errors import explain_missing
from neuronspec.errors import NeuronspecError
from neuronspec.libraries import find_library, import_library
from neuronspec.statistics.numbers import FloatArray


@dataclass(frozen=True, kw_only=True)
class MetricOptions:
    """The options that some metrics need.

    Attributes:
        sentencepiece: SentencePiece model that `spbleu` splits with.
        comet_model: Model of `comet`, a name on the hub or a checkpoint; by default COMET's usual one.
        cpu: True if metrics must not use a GPU.
    """

    sentencepiece: str | Path | None = None
    comet_model: str | Path | None = None
    cpu: bool = False


@dataclass(frozen=True)
class Metric:
    """A corpus metric that is a function of summed per-sentence statistics.

    Attributes:
        name: Display name.
        higher_is_better: False for error rates.
        score: Function from summed statistics (..., S) to corpus scores (...), for any number of leading dimensions.
        description: Words about the metric, for lists of metrics.
        library: Library that the metric needs, if neuronspec does not install it.
        extra: Extra of neuronspec that installs the library.
        required_option: Name of the field of `MetricOptions` that the metric cannot do without.
        divisible: True if several processes may count different tasks at the same time, each with the metric opened
            anew. A metric that loads a large model is opened once.
    """

    name: str
    higher_is_better: bool
    score: Callable[[FloatArray], FloatArray]
    # By keyword only, so that subclasses can add fields without a default.
    description: str = field(default="", kw_only=True)
    library: str = field(default="", kw_only=True)
    extra: str = field(default="", kw_only=True)
    required_option: str = field(default="", kw_only=True)
    divisible: bool = field(default=False, kw_only=True)

    def check(self) -> None:
        """Refuse a metric that cannot work here, before any text is scored.

        Raises:
            NeuronspecError: If a library or an environment that the metric needs is missing.
        """
        if self.library:
            find_library(self.library, self.name, self.extra)
            import_library(self.library, self.name, self.extra)  # a library that is there may be broken

    def list_files(self, options: MetricOptions) -> Sequence[Path]:
        """Return the files on this machine that decide the scores; they need not exist.

        A run scores again where the content of one has changed, and refuses to start where one is missing.

        Args:
            options: Options of all metrics.
        """
        return ()

    def check_files(self, options: MetricOptions) -> None:
        """Refuse files that cannot be used, before any text is translated.

        Args:
            options: Options of all metrics.

        Raises:
            NeuronspecError: If a file is missing or is not what the metric needs.
        """
        for path in self.list_files(options):
            if not path.exists():
                raise explain_missing(path)

    def open(self, options: MetricOptions) -> AbstractContextManager[Metric]:
        """Return a context with the metric ready for use; what it loads is released at the end.

        Args:
            options: Options of all metrics.

        Raises:
            NeuronspecError: If something that the metric needs is missing.
        """
        return nullcontext(self)

    def signature(self, target_language: str) -> str:
        """Return how scores are computed, to be reported with them.

        Args:
            target_language: Language of the translations.
        """
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
            hypotheses: Detokenized translations, one for each sentence; may be empty.
            references: Detokenized reference translations in the same order.
            target_language: Language of the translations; it chooses BLEU's tokenizer.
            sources: Sentences that were translated, for metrics that read them (COMET).

        Returns:
            The sufficient statistics, (sentences, S) float64.

        Raises:
            NeuronspecError: If there are no sentences, or not as many hypotheses as references.
        """
        raise NotImplementedError


def check_lengths(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Refuse translations that cannot be scored.

    Raises:
        NeuronspecError: If there are no sentences, or not as many hypotheses as references.
    """
    if len(hypotheses) != len(references):
        raise NeuronspecError(
            f"there are {len(hypotheses)} hypotheses for {len(references)} references; each line needs "
            "its reference on the same line, so look for lost, empty or doubled lines"
        )
    if not hypotheses:
        raise NeuronspecError("there are no sentences to score; give at least one hypothesis and its reference")


def mean_statistics(scores: npt.ArrayLike) -> FloatArray:
    """Return the statistics of a metric that gives each sentence a score: COMET, BERTScore, human ratings.

    Args:
        scores: Score of each sentence, (sentences,): COMET's `scores`, not its `system_score`.

    Returns:
        Rows of (score, 1), (sentences, 2) float64; `mean_score` turns their sum into the mean.

    Raises:
        NeuronspecError: If there are no scores, the array is not flat, or a score is not a finite number.

    Example:
        >>> from neuronspec.statistics import paired_approximate_randomization
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
        # The first one, counted from 1 like lines in an editor.
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise NeuronspecError(f"score {bad + 1} of {len(values)} is {values[bad]}; every sentence needs a number")
    return np.stack([values, np.ones_like(values)], axis=1)  # (sentences, 2)


def mean_score(statistics: FloatArray) -> FloatArray:
    """Map summed `mean_statistics` (..., 2) to mean scores (...).

    Example:
        >>> float(mean_score(mean_statistics([0.5, 1.0]).sum(axis=0)))
        0.75
    """
    return np.asarray(statistics[..., 0] / statistics[..., 1], dtype=np.float64)
