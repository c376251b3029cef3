"""A fairseq dictionary: the ids of special tokens, words or pieces, and language tags."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from neuronspec.data.reading_errors import explain_unreadable
from neuronspec.errors import NeuronspecError
from neuronspec.reading_limits import read_bytes

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # the ids 0 to 3
PADDING = re.compile(r"madeupword\d{4,}")  # words that make the size a multiple of 8
_OVERWRITE = "#fairseq:overwrite"


class Dictionary:
    """The tokens of a model in the order of their ids."""

    def __init__(self) -> None:
        self.tokens: list[str] = list(SPECIAL)
        self.ids: dict[str, int] = {token: number for number, token in enumerate(SPECIAL)}

    def add(self, token: str, *, overwrite: bool = False) -> int:
        """Return the id of a token, which is added unless it exists.

        Args:
            token: Token.
            overwrite: Whether it gets a new id even if it exists.
        """
        if token not in self.ids or overwrite:
            self.ids[token] = len(self.tokens)
            self.tokens.append(token)
        return self.ids[token]


def read_dictionary(path: Path) -> Dictionary:
    """Read `dict.txt`: a token and its count in each line.

    Args:
        path: Path of the file.

    Raises:
        NeuronspecError: If it is missing, no such file, or has a token twice.
    """
    try:
        # Only line feeds end a line: a token may be another separator.
        text = read_bytes(path).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise NeuronspecError(f"{path} is no dictionary: it is not UTF-8 text") from error
    except OSError as error:
        raise NeuronspecError(f"cannot read the dictionary {path}: {explain_unreadable(path, error)}") from error

    # Fairseq would take it as a part of the first token.
    if text.startswith("\ufeff"):
        raise NeuronspecError(f"{path} begins with a byte order mark: save it as UTF-8 without one")

    dictionary = Dictionary()
    lines = text.removesuffix("\n").split("\n") if text else []
    for number, line in enumerate(lines, start=1):
        _add_line(dictionary, line, f"{path}, line {number}")
    if len(dictionary.tokens) == len(SPECIAL):
        raise NeuronspecError(f"{path} is no dictionary: it is empty")
    return dictionary


def _add_line(dictionary: Dictionary, line: str, place: str) -> None:
    """Add the token of a line, as fairseq does."""
    token, _, count = line.rstrip().rpartition(" ")
    overwrite = count == _OVERWRITE
    if overwrite:
        token, _, count = token.rpartition(" ")

    if not token or not re.fullmatch(r"-?\d+", count):
        raise NeuronspecError(f"{place}: expected a token and its count, found {line[:60]!r}")
    if token in dictionary.ids and not overwrite:
        raise NeuronspecError(f"{place}: {token!r} is in the dictionary already")
    dictionary.add(token, overwrite=overwrite)


def read_languages(text: str) -> list[str]:
    """Return language codes from a list with commas, or from a file with such a list or a code in each line.

    Args:
        text: List, or path of a file.

    Raises:
        NeuronspecError: If a code is empty, given twice, or cannot be part of a tag.
    """
    path = Path(text)
    try:
        content = read_bytes(path).decode("utf-8") if "," not in text and path.is_file() else text
    except (OSError, ValueError) as error:
        raise NeuronspecError(f"cannot read the languages in {text[:200]}: expected UTF-8 text") from error

    codes = [code.strip() for line in content.splitlines() for code in line.split(",") if code.strip()]
    check_languages(codes)
    return codes


def check_languages(codes: Iterable[str]) -> None:
    """Refuse languages that cannot be told apart, or that no tag can name.

    Raises:
        NeuronspecError: If there are any, or no languages at all.
    """
    seen = set()
    for code in codes:
        if code in seen:
            raise NeuronspecError(f"--langs: {code!r} is given twice")
        if not re.fullmatch(r"[\w.+@-]+", code):
            raise NeuronspecError(f"--langs: {code[:60]!r} is no language code")
        seen.add(code)
    if not seen:
        raise NeuronspecError("--langs: no language is given; expected en,de,... or a file with a code in each line")
