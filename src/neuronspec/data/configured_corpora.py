"""The corpora of a configuration: whether their names tell directions apart, and which files they may read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from neuronspec.config.sections import Corpus, Data
from neuronspec.data.corpora import guess_format
from neuronspec.data.zip_files import ARCHIVE_PATH
from neuronspec.errors import NeuronspecError
from neuronspec.languages import split_direction


def check_templates(data: Data, pairs: Sequence[str], pivot: str) -> None:
    """Refuse tables whose names and columns do not tell pairs of languages apart.

    Raises:
        NeuronspecError: such a template would give the pivot's text for another language's, or one text for several
            languages.
    """
    for corpus in (*data.train, *data.valid, *data.test):
        if not _is_table(corpus):
            continue
        named = " ".join([corpus.path, *map(str, corpus.columns or [])])
        if "{src}" in named or "{tgt}" in named:
            continue
        if "{lang}" not in named and len(pairs) > 1:
            raise NeuronspecError(
                f"{corpus.path} is one table for {', '.join(pairs[:3])}, which would all get the same text: "
                "write {lang}, or {src} and {tgt}, in its name or in its columns"
            )
        alone = next((pair for pair in pairs if pivot not in split_direction(pair)), None)
        if "{lang}" in named and alone is not None:
            raise NeuronspecError(
                f"{corpus.path} names one language only, which pairs it with {pivot}: for {alone} write "
                "{src} and {tgt} in the name"
            )


def _is_table(corpus: Corpus) -> bool:
    by_name = corpus.format == "auto" and guess_format(corpus.path) == "tsv"
    return corpus.format == "tsv" or corpus.columns is not None or by_name


def list_corpus_files(corpora: list[Corpus]) -> list[Path]:
    """Return the files that corpora may read from, for telling whether one has changed."""
    files: set[Path] = set()
    for corpus in corpora:
        if corpus.path.startswith("hub:"):
            continue
        parts = ARCHIVE_PATH.fullmatch(corpus.path)
        assert parts is not None  # a path is never empty
        pattern = Path(re.sub(r"\{\w+\}", "*", parts[1] or parts[2]))
        fixed = [part for part in pattern.parts if "*" not in part]
        root = Path(*fixed[: next((n for n, part in enumerate(pattern.parts) if "*" in part), len(fixed))])
        found = [root] if root == pattern else root.glob(str(pattern.relative_to(root)))
        files.update(path for path in found if path.exists())
    return sorted(files)
