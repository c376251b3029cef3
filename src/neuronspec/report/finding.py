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

MIN_HALVES_CORRELATION = 0.5  # two halves of the sentences must agree so far for any claim about a layer
MIN_TASKS = 3  # with fewer there is one pair, and nothing to correlate


@dataclass(frozen=True)
class Finding:
    """A sentence about the neurons.

    Attributes:
        kind: `finding` for what the numbers support, `caveat` for what they do not support, or what limits them.
        text: The sentence.
        rank: Place among the sentences that a page begins with, the most telling first; 0 for all others.
    """

    kind: Literal["finding", "caveat"]
    text: str
    rank: int = 0


def choose_highlights(findings: Iterable[Finding], limit: int = 3) -> list[Finding]:
    """Return the findings that a page begins with, at most `limit`: one of each rank, the lowest rank first.

    Example:
        >>> found = [Finding("finding", "a", rank=2), Finding("caveat", "b"), Finding("finding", "c", rank=1)]
        >>> [one.text for one in choose_highlights(found)]
        ['c', 'a']
    """
    # Later findings replace earlier ones: the decoder, which is more telling, comes last
    by_rank = {one.rank: one for one in findings if one.rank}
    return [by_rank[rank] for rank in sorted(by_rank)][:limit]


def find_different_layers(layers: Sequence[LayerMeasures]) -> list[str]:
    """Return the layers in which the tasks differ by more than the noise of their sentences.

    The p-values are not corrected: a hundred shuffles cannot give a p-value that survives the correction over a dozen
    layers.
    """
    different = []
    for one in layers:
        if one.resampled is not None and one.resampled.null.p_value <= ALPHA:
            different.append(one.layer)
    return different


def find_reliable_layers(layers: Sequence[LayerMeasures]) -> list[str]:
    """Return the layers in which the tasks differ and two halves of the sentences agree, as far as that is known."""
    different = find_different_layers(layers)

    reliable = []
    for one in layers:
        # Without single sentences nothing speaks against a layer
        if one.resampled is None or (
            one.layer in different and one.resampled.halves.correlation >= MIN_HALVES_CORRELATION
        ):
            reliable.append(one.layer)
    return reliable


def find_significant_layers(tests: Mapping[str, Correlation] | Mapping[str, Separation]) -> list[str]:
    """Return the layers whose p-value, corrected over all of them by Holm's method, is at most `ALPHA`."""
    # A layer is named only if it is significant among all layers that were tested
    corrected = holm_known([one.p_value for one in tests.values()])
    return [layer for layer, p_value in zip(tests, corrected, strict=True) if p_value <= ALPHA]


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
