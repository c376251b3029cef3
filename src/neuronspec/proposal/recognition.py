"""Recognizing the languages of texts, to find which column is which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from neuronspec.evaluation.identification import choose_identifier, identify_label
from neuronspec.languages import find_language, is_known

_CHUNK = 200  # letters of joined lines that are recognized at a time: longer texts are recognized better
_CHUNKS = 40
_MOST = 0.6  # share of the chunks that must agree

# Labels that stand for several written languages, or are spelled otherwise in our table.
_LABELS = {"no": "nb", "hbs": "hr", "zxx": "", "wuu": "zh", "ary": "ar", "arz": "ar", "fuv": "ff", "gug": "gn"}


def recognize_language(texts: Iterable[str]) -> str | None:
    """Return the code of the language of texts, or None if they do not show it.

    Example:
        >>> recognize_language(["Das ist ein kurzer Satz.", "Und noch einer, damit es genug Buchstaben sind."])
        'de'
    """
    labels = Counter(identify_label(chunk) for chunk in _join_chunks(texts))
    if not labels:
        return None

    # Nearly all of them must agree.
    label, count = labels.most_common(1)[0]
    code = _LABELS.get(label, label)
    return code if code and count >= _MOST * labels.total() and is_known(code) else None


def measure_share(texts: Iterable[str], code: str) -> float | None:
    """Return the share of the texts that are in a language, or None where nothing can recognize it."""
    identify, accepted, _ = choose_identifier(find_language(code))
    chunks = list(_join_chunks(texts))
    if identify is None or not chunks:
        return None
    return sum(identify(chunk) in accepted for chunk in chunks) / len(chunks)


def are_swapped(left: Sequence[str], right: Sequence[str], first: str, second: str) -> bool:
    """Return whether two lists of texts are clearly in the languages `second` and `first`, in this order.

    Where a language cannot be recognized, the other one decides.
    """
    as_named = [measure_share(left, first), measure_share(right, second)]
    swapped = [measure_share(left, second), measure_share(right, first)]
    return sum(filter(None, swapped)) > sum(filter(None, as_named)) + 0.3


def _join_chunks(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts that are joined until they are long enough to be recognized."""
    count, joined = 0, ""
    for text in texts:
        joined = f"{joined} {text.strip()}".strip()
        if len(joined) >= _CHUNK:
            yield joined
            count, joined = count + 1, ""
        if count >= _CHUNKS:
            return
    if joined and not count:
        yield joined
