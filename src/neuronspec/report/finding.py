"""A finding, and the phrases and levels that all findings share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from neuronspec.analysis.layer_measures import LayerMeasures
from neuronspec.analysis.structure import ALPHA
from neuronspec.statistics.corrections import holm_known
from neuronspec.statistics.correlation import Correlation
from neuronspec.statistics.separation import Separation

HIGH_Z = 3  # standard deviations above chance
MIN_HALVES_CORRELATION = 0.5  # the correlation of two halves below which nothing is claimed of a layer
RELIABLE_CORRELATION = 0.8  # the correlation of two halves from which on overlaps are well measured
MIN_TASKS = 3  # tasks: with fewer there is one pair, and nothing to correlate


@dataclass(frozen=True)
class Finding:
    """A sentence about the neurons.

    Attributes:
        kind: `finding` for what the numbers support, `caveat` for what they do not, or what limits them.
        text: the sentence.
    """

    kind: Literal["finding", "caveat"]
    text: str


def find_different_layers(layers: Sequence[LayerMeasures]) -> list[str]:
    """Return the layers in which the tasks differ by more than the noise of their sentences.

    The p-values are not corrected: a hundred shuffles give none that would survive it over a dozen layers.
    """
    nulls = {one.layer: one.resampled.null for one in layers if one.resampled is not None}
    return [layer for layer, null in nulls.items() if null.p_value <= ALPHA]


def find_reliable_layers(layers: Sequence[LayerMeasures]) -> list[str]:
    """Return the layers in which the tasks differ and two halves of the sentences agree, or nobody knows."""
    differ = find_different_layers(layers)
    return [
        one.layer
        for one in layers
        if one.resampled is None or (one.layer in differ and one.resampled.halves.correlation >= MIN_HALVES_CORRELATION)
    ]


def find_significant_layers(tests: Mapping[str, Correlation] | Mapping[str, Separation]) -> list[str]:
    """Return the layers whose corrected p-value is small."""
    corrected = holm_known([one.p_value for one in tests.values()])
    return [layer for layer, p in zip(tests, corrected, strict=True) if p <= ALPHA]


def name_layers(chosen: Sequence[str], known: Collection[str], stack: str) -> str:
    """Return the chosen layers as a phrase: `every layer of the STACK` where all known ones are chosen."""
    return f"every layer of the {stack}" if len(chosen) == len(known) > 1 else join_names(chosen)


def format_range(values: Sequence[float]) -> str:
    """Return the smallest and the largest value as a phrase, to two decimals."""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def join_names(names: Iterable[str]) -> str:
    """Return names as one phrase.

    Example:
        >>> join_names(["a", "b", "c"]), join_names(["a"])
        ('a, b and c', 'a')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
