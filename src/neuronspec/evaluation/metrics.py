"""Every metric by name: BLEU, chrF++ and TER, BLEU on Moses tokens or SentencePiece pieces, COMET, and your own.

To add one, register a `Metric`; it then works everywhere. Listing metrics imports none of their libraries.
"""

from __future__ import annotations

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.evaluation.comet import COMET
from neuronspec.evaluation.metric import Metric
from neuronspec.evaluation.sacrebleu_metrics import BLEU, CHRF, SPBLEU, TER, TOKENIZED_BLEU
from neuronspec.registry import Registry

METRICS: Registry[Metric] = Registry("metric")
"""Every metric, by the name that users write; tables show its display name."""
METRICS.register("bleu")(BLEU)
METRICS.register("chrf")(CHRF)
METRICS.register("ter")(TER)
METRICS.register("tokenized_bleu")(TOKENIZED_BLEU)
METRICS.register("spbleu")(SPBLEU)
METRICS.register("comet")(COMET)


def find_scoring(name: str) -> Metric:
    """Return the metric with a display name, to score and compare statistics that were counted before.

    Args:
        name: Display name, as results have it.

    Raises:
        NeuronspecError: If no metric has this name.

    Example:
        >>> find_scoring("TER").higher_is_better
        False
    """
    known = {metric.name: metric for metric in METRICS.values()}
    if name not in known:
        raise NeuronspecError(f"unknown metric {name!r}{did_you_mean(name, known)}; known: {', '.join(known)}")
    return known[name]
