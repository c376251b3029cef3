"""The registry of corpus formats: what reads them, and how a path shows which one it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from neuronspec.errors import NeuronspecError
from neuronspec.registry import Registry


@dataclass(frozen=True)
class Pair:
    """A sentence in two languages.

    Attributes:
        source: Text in the source language.
        target: Its translation.
        place: Where the pair was found, for messages: `file:line` or `file:key`.
    """

    source: str
    target: str
    place: str


Reader = Callable[..., Iterator[Pair]]
"""Function of a template and the codes of source and target; with `takes_columns`, of two columns (or None) as well."""


@dataclass(frozen=True, kw_only=True)
class LineText:
    """A text that has a pair in each line of one file, or of two aligned ones, so that its parts can be read alone.

    Attributes:
        files: The file, or the two files.
        parse: Function from rows, which are the number of a line and the line of each file, to pairs. It must be
            picklable.
        first: Number of the first line that holds a pair.
    """

    files: tuple[Path, ...]
    parse: Callable[[Iterable[tuple[Any, ...]]], Iterator[Pair]]
    first: int = 1


FindLines = Callable[..., LineText | None]
"""Function of the same arguments as the reader, to the lines that hold the pairs; None where it cannot tell."""


@dataclass(frozen=True, kw_only=True)
class CorpusFormat:
    """A format of parallel text, with everything that the rest of the package needs to know about it.

    Attributes:
        read: Reader of the format.
        description: Description of the format in a few words, for lists of formats.
        suffixes: Ends of file names that belong to this format; that of a compression may follow.
        prefix: Beginning of paths that belong to this format and name no files, such as `hub:`.
        recognizes: Function of the first bytes of a file that returns whether it has this format. It is asked
            where the name of a file says nothing.
        takes_columns: Whether the reader takes the columns that hold the two texts.
        files: Number of files that hold the text of one direction: `one`, `two` (one for each language), or
            `many`, which the reader finds by itself.
        find_lines: Function that finds the lines of a format with a pair in each: large files are then read in
            parallel.
    """

    read: Reader
    description: str
    suffixes: tuple[str, ...] = ()
    prefix: str = ""
    recognizes: Callable[[bytes], bool] | None = None
    takes_columns: bool = False
    files: Literal["one", "two", "many"] = "one"
    find_lines: FindLines | None = None


CORPUS_FORMATS: Registry[CorpusFormat] = Registry("corpus format")
"""Every corpus format by name. The formats of neuronspec are in it once `neuronspec.data.readers` is imported."""


def register_format(
    name: str,
    description: str,
    *,
    suffixes: tuple[str, ...] = (),
    prefix: str = "",
    recognizes: Callable[[bytes], bool] | None = None,
    takes_columns: bool = False,
    files: Literal["one", "two", "many"] = "one",
    find_lines: FindLines | None = None,
) -> Callable[[Reader], Reader]:
    """Return a decorator that registers a reader as a corpus format.

    Args:
        name: Name of the format, for `format:` in a configuration.
        description: Description of the format in a few words.
        suffixes: Ends of file names that belong to this format.
        prefix: Beginning of paths that belong to this format and name no files.
        recognizes: Function of the first bytes of a file that returns whether it has this format.
        takes_columns: Whether the reader takes the columns that hold the two texts.
        files: Number of files that hold the text of one direction.
        find_lines: Function that finds the lines of a format with a pair in each.

    Raises:
        NeuronspecError: If the name or one of the suffixes is taken.
    """

    def add(read: Reader) -> Reader:
        # A suffix must lead to one format, or `auto` would depend on the order of registration.
        for other, known in CORPUS_FORMATS.items():
            shared = sorted({*suffixes} & {*known.suffixes})
            if shared:
                raise NeuronspecError(f"files that end in {shared[0]} have the corpus format {other!r} already")

        CORPUS_FORMATS.register(name)(
            CorpusFormat(
                read=read,
                description=description,
                suffixes=suffixes,
                prefix=prefix,
                recognizes=recognizes,
                takes_columns=takes_columns,
                files=files,
                find_lines=find_lines,
            )
        )
        return read

    return add
