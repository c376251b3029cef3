"""Registry of language identifiers: what says in which language a translation is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata

from neuronspec.registry import Registry

Identify = Callable[[str], str]
"""A function from a text to the label of its language."""
RankLabels = Callable[[str], Mapping[str, float]]
"""A function from a text to the probabilities of the labels that it may have, the likeliest first."""

DEFAULT_IDENTIFIER = "py3langid"


@dataclass(frozen=True, eq=False, kw_only=True)
class Identifier:
    """A language identifier.

    Attributes:
        load: Function that loads the model, when it is first needed, and returns a function from a text to a label,
            and all labels. A label is a language code in any spelling (`de`, `deu_Latn`); `zxx` and `und` stand for no
            language.
        version: Version of the model and its library, or a function that returns it. It is part of every signature,
            so that results of two versions are never compared.
        accepts: For languages whose labels are not simply their codes, the labels that count as the language.
        rank: Function that loads the model and returns a function from a text to the probabilities of labels, the
            likeliest first; None if there are no probabilities.
    """

    load: Callable[[], tuple[Identify, Sequence[str]]]
    version: str | Callable[[], str]
    accepts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rank: Callable[[], RankLabels] | None = None


IDENTIFIERS: Registry[Identifier] = Registry("language identifier")
"""Every language identifier, by name."""


def sign_identifier(name: str) -> str:
    """Return the signature of an identifier: its name and version.

    Args:
        name: Name in `IDENTIFIERS`.

    Raises:
        NeuronspecError: If there is no such identifier.

    Example:
        >>> sign_identifier("py3langid").partition(":")[0]
        'py3langid|version'
    """
    version = IDENTIFIERS[name].version
    return f"{name}|version:{version() if callable(version) else version}"


def open_identifier(name: str) -> tuple[Identify, tuple[str, ...]]:
    """Return the function of an identifier from a text to a label, and its labels; the model is loaded once.

    Args:
        name: Name in `IDENTIFIERS`.

    Raises:
        NeuronspecError: If there is no such identifier, or its library is not installed.
    """
    return _open(IDENTIFIERS[name])


@functools.cache
def _open(identifier: Identifier) -> tuple[Identify, tuple[str, ...]]:
    identify, labels = identifier.load()

    # The references are the same for every system.
    return functools.lru_cache(maxsize=2**16)(identify), tuple(labels)


def rank_labels(name: str, text: str) -> dict[str, float]:
    """Return the probabilities of the labels that a text may have, the likeliest first.

    An identifier without probabilities gives its only label 1.

    Args:
        name: Name in `IDENTIFIERS`.
        text: Text of any length.

    Raises:
        NeuronspecError: If there is no such identifier, or its library is not installed.
    """
    rank = _open_ranking(IDENTIFIERS[name])
    return dict(rank(text)) if rank is not None else {open_identifier(name)[0](text): 1.0}


@functools.cache
def _open_ranking(identifier: Identifier) -> RankLabels | None:
    return None if identifier.rank is None else identifier.rank()


def _load_py3langid() -> tuple[Identify, Sequence[str]]:
    # Its own letters and scripts are in the room's module about identification, which is built on this one.
    from neuronspec.evaluation import identification

    return identification.load_py3langid()


def _rank_py3langid() -> RankLabels:
    from neuronspec.evaluation import identification

    return identification.load_ranking()


def _find_py3langid() -> str:
    try:
        return metadata.version("py3langid")
    except metadata.PackageNotFoundError:  # loading it says so
        return "none"


IDENTIFIERS.register(DEFAULT_IDENTIFIER)(
    Identifier(load=_load_py3langid, version=_find_py3langid, rank=_rank_py3langid)
)
