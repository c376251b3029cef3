"""Files that are named after a language in another spelling than the one that is asked for."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from neuronspec.languages import names_language

_PLACEHOLDER = re.compile(r"(\{(?:lang|src|tgt)\})")


def find_other_spelling(template: str, codes: Mapping[str, str]) -> Path | None:
    """Return the only file of a template that is named after the same languages in other spellings, if there is one.

    Args:
        template: Path with `{lang}`, `{src}` and `{tgt}`.
        codes: Code of the language that each placeholder stands for, by the placeholder's name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "deu_Latn.dev").touch()
        ...     found = find_other_spelling(folder + "/{lang}.dev", {"lang": "de"})
        >>> found.name
        'deu_Latn.dev'
    """
    pieces = _PLACEHOLDER.split(template)
    pattern = "".join("*" if _PLACEHOLDER.fullmatch(piece) else glob.escape(piece) for piece in pieces)
    names = glob.glob(pattern)  # noqa: PTH207 - the template may be absolute
    same = [name for name in names if _is_spelled(pieces, name, codes)]
    return Path(same[0]) if len(same) == 1 else None


def choose_spelling(code: str, found: Iterable[str]) -> str | None:
    """Return the only text that means the same language as `code`; None where there is none, or there are several."""
    same = [text for text in dict.fromkeys(found) if names_language(text, code)]
    return same[0] if len(same) == 1 else None


def _is_spelled(pieces: list[str], name: str, codes: Mapping[str, str]) -> bool:
    """Tell whether a file's name is the template with the same languages in its placeholders."""
    wanted = [codes[piece[1:-1]] for piece in pieces[1::2]]
    pattern = "".join("([^/]+?)" if _PLACEHOLDER.fullmatch(piece) else re.escape(piece) for piece in pieces)
    found = re.fullmatch(pattern, name)
    if found is None:
        return False
    return all(names_language(text, code) for code, text in zip(wanted, found.groups(), strict=True))
