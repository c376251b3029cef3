"""Parallel text in files, with all that a configuration needs to name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from neuronspec.config.sections import Corpus
from neuronspec.languages import is_english


@dataclass(frozen=True, kw_only=True)
class ParallelText:
    """Text in two or more languages.

    Attributes:
        path: Path of the file; of two or more, a template of them.
        name: Part of the path that may name the languages and the part of the data.
        lines: Number of sentences of each language, by its code as the files spell it.
        named_by: Codes in the name: of a `direction` (in the order of `lines`), of one `language` next to English, or
            `nothing`, where the name shows none or needs none.
        template: Path with placeholders in place of these codes.
        format: Name of the corpus format, or `auto`.
        columns: Columns of a table that hold the texts, by code.
        exact: Whether the numbers of sentences are exact.
        aligned: Whether languages belong together line by line, so that they must have equally many sentences.
        assumptions: Sentences about what was assumed.
    """

    path: str
    name: str
    lines: Mapping[str, int]
    named_by: Literal["direction", "language", "nothing"] = "nothing"
    template: str = ""
    format: str = "auto"
    columns: Mapping[str, int | str] = field(default_factory=dict)
    exact: bool = True
    aligned: bool = True
    assumptions: tuple[str, ...] = ()

    @property
    def codes(self) -> tuple[str, ...]:
        """The languages, as the files spell them."""
        return tuple(self.lines)

    def count_pairs(self, first: str, second: str) -> int:
        """Return the number of sentence pairs of two languages; 0 if their files are not aligned."""
        counts = self.lines[first], self.lines[second]
        return min(counts) if not self.aligned or counts[0] == counts[1] else 0

    def make_corpus(self, pivot: str, other: str) -> Corpus:
        """Return the corpus of a configuration that reads the text of two languages.

        Args:
            pivot: Code of the pivot, as the files spell it.
            other: Code of the other language.
        """
        # The names of columns are codes, or numbers and names that serve only these languages.
        named = [str(name) for name in self.columns.values()]
        if self.columns and named == list(self.columns):
            return Corpus(path=self.template or self.path, format=self.format, columns=["{src}", "{tgt}"])

        # A file that is named after one language is paired with English; next to another pivot, it is itself meant.
        by_language = self.named_by == "language" and not is_english(pivot)
        path = self.path if self.named_by == "nothing" or by_language else self.template
        return Corpus(path=path, format=self.format, columns=self._order_columns(pivot, other))

    def _order_columns(self, pivot: str, other: str) -> list[int | str] | None:
        """Return the two columns in the order in which the path is read, or None for the first and the second."""
        if not self.columns:
            return None
        order = self.codes if self.named_by == "direction" else (pivot, other)
        columns = [self.columns[code] for code in order]
        return None if columns == [1, 2] else columns
