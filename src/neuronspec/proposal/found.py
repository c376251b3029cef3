"""The result of looking for corpora: which ones were found, in which languages, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from neuronspec.config.sections import Corpus
from neuronspec.languages import join_direction
from neuronspec.proposal.file_names import Part
from neuronspec.proposal.listing import LeftOut


@dataclass(frozen=True, kw_only=True)
class FoundCorpus:
    """A corpus, as a configuration names it, and what is in it.

    Attributes:
        part: Part of the data that it serves as.
        corpus: Corpus of a configuration, with an absolute path.
        sizes: Number of sentence pairs with the pivot, by language.
        spellings: Codes that the files have, by the language's code in the run, where they differ.
        exact: Whether the sizes are exact.
    """

    part: Part
    corpus: Corpus
    sizes: Mapping[str, int]
    spellings: Mapping[str, str] = field(default_factory=dict)
    exact: bool = True


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """The corpora that were found in files.

    Attributes:
        pivot: Code of the language that the others are paired with.
        languages: Codes of the other languages.
        corpora: Corpora, those for training first.
        notes: Sentences about what was assumed.
        left_out: Files that cannot be used, with the reasons.
    """

    pivot: str
    languages: tuple[str, ...]
    corpora: tuple[FoundCorpus, ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def list_corpora(self, part: Part) -> list[Corpus]:
        """Return the corpora of a part; those that lack some languages say which ones they hold."""
        corpora = []
        for found in self.corpora:
            if found.part == part:
                held = [language for language in self.languages if language in found.sizes]
                some = [] if len(held) == len(self.languages) else held
                corpora.append(found.corpus.model_copy(update={"languages": some}))
        return corpora

    def count_pairs(self, part: Part) -> dict[str, int]:
        """Return the number of sentence pairs of a part by pair of languages, such as `en-de`."""
        counts = {}
        for language in self.languages:
            held = [found.sizes[language] for found in self.corpora if found.part == part and language in found.sizes]
            counts[join_direction(self.pivot, language)] = sum(held)
        return counts
