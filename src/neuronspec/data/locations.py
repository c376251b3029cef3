"""Locations of the files of a corpus: from a template with placeholders to the names of files."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from pathlib import Path

from neuronspec.data.streams import exists
from neuronspec.errors import NeuronspecError
from neuronspec.languages import is_english, names_language, same_language
from neuronspec.placeholders import CORPUS_PLACEHOLDERS, fill_placeholders, split_at_placeholders


def fill_codes(template: str, *, lang: str, source: str, target: str) -> str:
    """Return a template with language codes in place of `{lang}`, `{src}` and `{tgt}`.

    Example:
        >>> fill_codes("train.{src}-{tgt}.{lang}", lang="de", source="de", target="en")
        'train.de-en.de'
    """
    return fill_placeholders(template, {"lang": lang, "src": source, "tgt": target})


def locate(template: str, source: str, target: str) -> tuple[Path, bool]:
    """Return the one file of a direction, and whether its first column is the target."""
    # The file may be named after either direction.
    forward = Path(fill_codes(template, lang=target, source=source, target=target))
    backward = Path(fill_codes(template, lang=source, source=target, target=source))

    # A file that stands for a language is paired with English, which comes first.
    if "{lang}" in template:
        return (backward, True) if _is_pivot(target, source) else (forward, False)

    # A file that stands for a direction serves the other direction as well.
    only_backward = not exists(forward) and exists(backward)
    return (backward, True) if only_backward else (forward, False)


def refuse_other_spelling(template: str, source: str, target: str, *, files: str) -> None:
    """Refuse files that are missing under the languages' codes but exist under other codes of the same languages.

    Args:
        template: Path with placeholders.
        source: Code of the source language.
        target: Code of the target language.
        files: `two` where each language has its own file, `one` otherwise.

    Raises:
        NeuronspecError: If there is such a file; the message names it.
    """
    # A file of a direction is named after the language that is not the pivot.
    named_after = source if _is_pivot(target, source) else target
    for code in (source, target) if files == "two" else (named_after,):
        path = fill_codes(template, lang=code, source=source, target=target)
        if exists(path):
            continue

        # Nothing under this code; perhaps under another code of the same language.
        found = find_other_spelling(template, {"lang": code, "src": source, "tgt": target})
        if found is not None:
            raise NeuronspecError(
                f"{path} does not exist, but {found.name} does: write the languages' codes as it does"
            )


def find_other_spelling(template: str, codes: Mapping[str, str]) -> Path | None:
    """Return the only file of a template that is named after the same languages in other spellings, or None.

    Args:
        template: Path with placeholders.
        codes: Code of the language that each placeholder stands for, by the placeholder's name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "deu_Latn.dev").touch()
        ...     found = find_other_spelling(folder + "/{lang}.dev", {"lang": "de"})
        >>> found.name
        'deu_Latn.dev'
    """
    # Every file that the template could name, with anything in the place of a code
    pieces = split_at_placeholders(template, CORPUS_PLACEHOLDERS)
    texts, wanted = pieces[::2], [codes[name] for name in pieces[1::2]]

    names = glob.glob("*".join(map(glob.escape, texts)))  # noqa: PTH207 - the template may be absolute

    # Only those whose codes mean the wanted languages
    pattern = re.compile("([^/]+?)".join(map(re.escape, texts)))
    same = [name for name in names if _names_languages(pattern.fullmatch(name), wanted)]
    return Path(same[0]) if len(same) == 1 else None  # of several, none is the obvious one


def _names_languages(found: re.Match[str] | None, codes: list[str]) -> bool:
    """Return whether the groups of a match are codes of these languages."""
    if found is None:
        return False
    return all(names_language(text, code) for text, code in zip(found.groups(), codes, strict=True))


def _is_pivot(code: str, other: str) -> bool:
    """Return whether a language is the English that corpora are centered on: of two Englishes, the main one."""
    return is_english(code) and (not is_english(other) or same_language(code, "en"))
