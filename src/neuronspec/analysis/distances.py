"""Distances between languages: in family, script and vocabulary.

The overlaps of neurons are compared with them by `neuronspec.statistics.correlation.mantel`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import distance

from neuronspec.errors import NeuronspecError
from neuronspec.languages import UNKNOWN, Language


def family_distances(languages: Sequence[Language]) -> NDArray[np.float64]:
    """Return how distantly languages are related, by the families in the table of languages.

    0: the same language (ISO 639-3), whatever its script; 1/3: the same branch of Indo-European, or the same other
    family; 2/3: two branches of Indo-European; 1: not related. Isolates, creoles and constructed languages are not
    related to any other language.

    Args:
        languages: The n languages.

    Returns:
        (n, n) distances, 0..1. A language of unknown family has nan in its row and column and on the diagonal;
        `mantel` leaves it out.

    Example:
        >>> from neuronspec.languages import find_language
        >>> family_distances([find_language(code) for code in ("de", "nl", "ru", "fi")])[0].round(2).tolist()
        [0.0, 0.33, 0.67, 1.0]
    """
    # A language without a lineage is related to itself alone
    same_language = compare_names([language.iso3 for language in languages])
    same_top = compare_names([language.lineage[:1] or language.iso3 for language in languages])
    same_lineage = compare_names([language.lineage or language.iso3 for language in languages])

    # The first that holds counts: the same language, the same branch, the same family
    steps = np.select([same_language, same_lineage, same_top], [0, 1, 2], default=3)
    return _leave_out_unknown(steps / 3, [language.family for language in languages])


def script_distances(languages: Sequence[Language]) -> NDArray[np.float64]:
    """Return 0 for two languages in the same script, else 1.

    Args:
        languages: The n languages.

    Returns:
        (n, n) distances. A language in an unknown script has nan in its row and column and on the diagonal; `mantel`
        leaves it out.

    Example:
        >>> from neuronspec.languages import find_language
        >>> script_distances([find_language(code) for code in ("hi", "mr", "ur")])[0].tolist()
        [0.0, 0.0, 1.0]
    """
    scripts = [language.script for language in languages]
    return _leave_out_unknown(np.where(compare_names(scripts), 0.0, 1.0), scripts)


def vocabulary_distances(counts: ArrayLike) -> NDArray[np.float64]:
    """Return how little the tokens of texts have in common: 1 - weighted Jaccard of their relative frequencies.

    The overlap of two texts is the sum over tokens of the smaller frequency, divided by the sum of the larger one.

    Args:
        counts: (n, vocabulary) how often each token occurs in each text.

    Returns:
        (n, n) distances: 0 for equal frequencies, 1 for no token in common.

    Raises:
        NeuronspecError: If this is no such table, a count is negative, or a text has no tokens.

    Example:
        >>> vocabulary_distances([[2, 2, 0], [1, 1, 0], [0, 5, 5]])[0].round(3).tolist()
        [0.0, 0.0, 0.667]
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all() or table.min() < 0:
        raise NeuronspecError(
            f"found token counts of shape {table.shape}, expected (texts, vocabulary) with finite counts of 0 or more"
        )

    totals = table.sum(axis=1, keepdims=True)
    if not totals.all():
        raise NeuronspecError(f"text {int(totals.argmin())} (from 0) has no tokens; leave it out")

    # Frequencies sum to 1; so with d half their absolute difference, the minima sum to 1 - d and the maxima to 1 + d.
    half = distance.pdist(table / totals, "cityblock") / 2  # (n * (n - 1) / 2,)
    return np.asarray(distance.squareform(2 * half / (1 + half)), dtype=np.float64)


def compare_names(names: Sequence[object]) -> NDArray[np.bool_]:
    """Return an (n, n) matrix that is true where two names are the same."""
    # As numbers, all pairs can be compared at once
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    column = np.array([numbers[name] for name in names])  # (n,)
    return np.asarray(column[:, None] == column[None, :])


def _leave_out_unknown(distances: NDArray[np.float64], facts: Sequence[str]) -> NDArray[np.float64]:
    """Return distances with nan in the rows and columns of languages whose fact is unknown."""
    # Unknown is not the same as unrelated: nan says that there is no distance
    unknown = np.array([fact == UNKNOWN for fact in facts], dtype=bool)
    return np.where(unknown[:, None] | unknown[None], np.nan, distances)
