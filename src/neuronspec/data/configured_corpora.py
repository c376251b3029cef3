"""The corpora of a configuration: whether their names distinguish directions, and which files they may read."""

from __future__ import annotations

import glob
import itertools
from collections.abc import Sequence
from pathlib import Path

from neuronspec.config.sections import Corpus, Data, HoldOut
from neuronspec.data.corpora import CORPUS_FORMATS, guess_format, names_no_file
from neuronspec.data.texts import TEXT_PARTS
from neuronspec.data.zip_files import ARCHIVE_PATH
from neuronspec.errors import NeuronspecError
from neuronspec.languages import same_language, split_direction
from neuronspec.placeholders import CORPUS_PLACEHOLDERS, fill_placeholders


def holds_pair(corpus: Corpus, pair: str, pivot: str) -> bool:
    """Return whether a pair of languages is read from a corpus, by the languages that its configuration names.

    Example:
        >>> corpus = Corpus(path="{lang}.tsv", languages=["deu_Latn"])
        >>> holds_pair(corpus, "en-de", "en"), holds_pair(corpus, "en-fr", "en"), holds_pair(corpus, "de-fr", "en")
        (True, False, False)
    """
    if not corpus.languages:
        return True
    held = [pivot, *corpus.languages]
    return all(any(same_language(code, other) for other in held) for code in split_direction(pair))


def choose_corpora(data: Data, pair: str, pivot: str) -> tuple[dict[str, list[Corpus]], HoldOut]:
    """Return the corpora of each part that a pair of languages is read from, and the shares to hold out for it.

    Args:
        data: Corpora of the configuration.
        pair: Pair of languages.
        pivot: Code of the language that most pairs have in common.
    """
    corpora = {}
    for part in TEXT_PARTS:
        corpora[part] = [one for one in getattr(data, part) if holds_pair(one, pair, pivot)]

    # Nothing is held out of the training text for a part that has text of its own.
    valid = 0.0 if corpora["valid"] else data.hold_out.valid
    test = 0.0 if corpora["test"] else data.hold_out.test
    return corpora, HoldOut(valid=valid, test=test)


def check_templates(data: Data, pairs: Sequence[str], pivot: str) -> None:
    """Refuse tables whose names and columns do not distinguish pairs of languages.

    Args:
        data: Corpora of the configuration.
        pairs: Pairs of languages whose text is read, such as `en-de`.
        pivot: Code of the language that most pairs have in common.

    Raises:
        NeuronspecError: If a template would give the pivot's text for another language's, or one text for several
            languages.
    """
    for corpus in (*data.train, *data.valid, *data.test):
        if _is_table(corpus):
            held = [pair for pair in pairs if holds_pair(corpus, pair, pivot)]
            _check_table(corpus, held, pivot)


def _check_table(corpus: Corpus, pairs: Sequence[str], pivot: str) -> None:
    named = " ".join([corpus.path, *map(str, corpus.columns or [])])

    # Both languages in the name or in the columns distinguish all pairs.
    if "{src}" in named or "{tgt}" in named:
        return

    # A fixed name serves one pair of languages only.
    if "{lang}" not in named:
        if len(pairs) > 1:
            raise NeuronspecError(
                f"{corpus.path} is one table for {', '.join(pairs[:3])}, which would all get the same text: "
                "write {lang}, or {src} and {tgt}, in its name or in its columns"
            )
        return

    # With {lang} alone, the other language is the pivot.
    without_pivot = [pair for pair in pairs if pivot not in split_direction(pair)]
    if without_pivot:
        raise NeuronspecError(
            f"{corpus.path} names one language only, which pairs it with {pivot}: for {without_pivot[0]} write "
            "{src} and {tgt} in the name"
        )


def _is_table(corpus: Corpus) -> bool:
    # Only tables have columns, so the name does not matter then.
    if corpus.columns is not None:
        return True
    name = guess_format(corpus.path) if corpus.format == "auto" else corpus.format
    return name is not None and CORPUS_FORMATS[name].takes_columns


def list_corpus_files(corpora: Sequence[Corpus]) -> list[Path]:
    """Return the files that corpora may read from, sorted. A change in one of them changes the prepared text."""
    files: set[Path] = set()
    for corpus in corpora:
        if not names_no_file(corpus.path):
            files.update(find_candidates(corpus.path))
    return sorted(files)


def find_candidates(template: str) -> list[Path]:
    """Return the files that fit a template for some languages; of a member of an archive, the archive."""
    parts = ARCHIVE_PATH.fullmatch(template)
    assert parts is not None  # a path is never empty

    # Any language may stand in place of a placeholder; of a member, the archive is looked for.
    pattern = Path(fill_placeholders(parts[1] or parts[2], dict.fromkeys(CORPUS_PLACEHOLDERS, "*")))

    # Only the part of the path after the last fixed folder is searched.
    root = Path(*itertools.takewhile(lambda part: "*" not in part, pattern.parts))
    if root == pattern:
        return [root] if root.exists() else []
    rest = str(pattern.relative_to(root))
    found = glob.glob(rest, root_dir=root, include_hidden=True)  # noqa: PTH207 - quick for any pattern
    return [path for path in map(root.joinpath, found) if path.exists()]
