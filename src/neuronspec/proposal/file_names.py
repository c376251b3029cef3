"""Names of files: the language codes in them, and the part of the data (training, validation, test) that they name."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from neuronspec.languages import is_known, list_languages, read_code

Part = Literal["train", "valid", "test"]

# A language, perhaps with a script and a region; letters and digits around it make it a part of a word.
_CODE = re.compile(
    r"(?<![A-Za-z0-9])(?:[a-z]{2,3}(?:[-_](?:[A-Z][a-z]{3}|hans|hant|latn|cyrl))?(?:[-_](?:[A-Z]{2}|419))?(?:@[a-z]+)?"
    r"|[A-Z]{2,3})(?![A-Za-z0-9])"
)
# Words of file names that are codes of small languages as well: `dev` is Domung, `src` is Logudorese Sardinian.
_WORDS = frozenset(
    {"all", "alt", "app", "bin", "bpe", "bz", "cut", "dat", "dev", "doc", "few", "for", "gz", "how", "hyp", "ids"}
    | {"in", "inf", "key", "log", "low", "lz", "mid", "min", "mix", "mo", "new", "nmt", "non", "not", "old"}
    | {"one", "org", "out", "par", "po", "pre", "raw", "ref", "run", "sep", "set", "sgm", "six", "spm", "src", "std"}
    | {"sub", "sys", "tab", "tag", "ted", "ten", "tgt", "the", "tmp", "tmx", "to", "tok", "top", "trg", "tst", "tsv"}
    | {"two", "txt", "val", "ver", "vid", "web", "xml", "xz", "zip", "zst"}
)

_PART_WORDS: dict[str, Part] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "tune", "tuning"), "valid"),
    **dict.fromkeys(("test", "tst", "devtest", "eval", "heldout", "testset"), "test"),
}  # fmt: skip
EVALUATION_SETS = ("flores", "ntrex", "tico", "newsdev", "newstest")
"""Beginnings of the names of sets that are made for evaluation only."""


@dataclass(frozen=True)
class CodePlace:
    """A language code within a name.

    Attributes:
        start: Index of its first character.
        end: Index after its last character.
        code: Code, as the name spells it.
        sure: Whether it is a code of the table of languages; other codes of ISO 639 may be words.
    """

    start: int
    end: int
    code: str
    sure: bool


def find_codes(name: str, own: Collection[str] = ()) -> list[CodePlace]:
    """Return the language codes in a name, in its order.

    Args:
        name: Path, or a part of it.
        own: Codes that certainly name languages, such as those that users give.

    Example:
        >>> [place.code for place in find_codes("corpora/train.de-eng_Latn.dev")]
        ['de', 'eng_Latn']
    """
    return sorted(_list_places(name, own), key=lambda place: place.start)


def _list_places(name: str, own: Collection[str]) -> Iterator[CodePlace]:
    # Codes that users give come first: no standard need know them.
    taken: list[range] = []
    for code in sorted(own, key=len, reverse=True):
        for match in re.finditer(rf"(?<![A-Za-z0-9]){re.escape(code)}(?![A-Za-z0-9])", name):
            if not any(match.start() in place for place in taken):
                taken.append(range(match.start(), match.end()))
                yield CodePlace(match.start(), match.end(), code, sure=True)

    for match in _CODE.finditer(name):
        code = match[0]
        overlaps = any(match.start() in place or match.end() - 1 in place for place in taken)
        if not overlaps and code.lower() not in _WORDS and is_known(code):
            yield CodePlace(match.start(), match.end(), code, sure=_is_in_table(code))


@functools.lru_cache(maxsize=4096)
def _is_in_table(code: str) -> bool:
    return read_code(code).language in {language.code.partition("-")[0] for language in list_languages()}


def find_pair(name: str, own: Collection[str] = ()) -> tuple[CodePlace, CodePlace] | None:
    """Return the last two codes of a name that a single `-` or `_` joins: those of a direction; None if there are none.

    Example:
        >>> first, second = find_pair("WikiMatrix.de-en.tsv.gz")
        >>> first.code, second.code
        ('de', 'en')
    """
    places = find_codes(name, own)
    for first, second in reversed(list(itertools.pairwise(places))):
        joined = name[first.end : second.start] in ("-", "_")
        if joined and first.code != second.code and (first.sure or second.sure):
            return first, second
    return None


def find_part(name: str) -> Part | None:
    """Return the part of the data that a path says, or None. The last word that says something counts.

    Any word of a file's name counts, and of the folders above those whose name is one word.

    Example:
        >>> find_part("train/de.tsv"), find_part("deu_Latn.devtest"), find_part("tst2013.en"), find_part("europarl.de")
        ('train', 'test', 'test', None)
    """
    *folders, file = name.lower().replace("!", "/").split("/")
    words = [word for folder in folders if (word := folder.rstrip("0123456789")).isalpha()]
    words += re.findall(r"[a-z]+", file)
    parts = [_PART_WORDS[word] for word in words if word in _PART_WORDS]
    return parts[-1] if parts else None


def is_evaluation_set(name: str) -> bool:
    """Return whether a name is that of a set that is made for evaluation, such as FLORES or NTREX.

    Example:
        >>> is_evaluation_set("data/flores200/deu_Latn.dev"), is_evaluation_set("europarl.de")
        (True, False)
    """
    words = re.findall(r"[A-Za-z]+", name.lower())
    return any(word.startswith(EVALUATION_SETS) for word in words)
