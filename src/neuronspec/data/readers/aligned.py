"""Reading two files that are aligned line by line, one for each language."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from neuronspec.data.corpus_formats import Pair, register_format
from neuronspec.data.locations import fill_codes
from neuronspec.data.streams import exists, read_lines
from neuronspec.errors import NeuronspecError


@register_format("lines", "two files, aligned line by line", files="two")
def read_two_files(template: str, source: str, target: str) -> Iterator[Pair]:
    """Yield the pairs of two aligned files, whose names differ in `{lang}`.

    Args:
        template: Name of both files, with the placeholders of `read_pairs`. A `*` stands for what differs as well.
        source: Code of the source language.
        target: Code of the target language.

    Raises:
        NeuronspecError: If the template names one file only, if several files fit one side, or if the files are
            missing or not aligned.
    """
    if "{lang}" not in template:
        raise NeuronspecError(f"{template} names one file, not two; write {{lang}} where their names differ")

    # The two files under the name of this direction, and under that of the other one.
    paths, swapped = [], []
    for lang in (source, target):
        paths.append(_find_side(fill_codes(template, lang=lang, source=source, target=target)))
        swapped.append(_find_side(fill_codes(template, lang=lang, source=target, target=source)))

    # Files that are named after the other direction serve this one as well.
    if not all(map(exists, paths)) and all(map(exists, swapped)):
        paths = swapped
    yield from read_aligned(*paths)


def read_aligned(first: Path, second: Path) -> Iterator[Pair]:
    """Yield the pairs of two files that are aligned line by line.

    Raises:
        NeuronspecError: If a file cannot be read, or one has more lines than the other.
    """
    left_lines, right_lines = read_lines(first), read_lines(second)
    for number, (left, right) in enumerate(zip_longest(left_lines, right_lines), 1):
        if left is None or right is None:  # one file has ended: count what is left of the other
            left_count = number - (left is None) + sum(1 for _ in left_lines)
            right_count = number - (right is None) + sum(1 for _ in right_lines)
            raise NeuronspecError(
                f"{first} has {left_count} lines, but {second} has {right_count}; they must be aligned line by line"
            )
        yield Pair(left, right, f"{first}:{number}")


def _find_side(pattern: str) -> Path:
    """Return the only file that fits a pattern; the pattern itself where no file does, or where it is a file's name.

    Raises:
        NeuronspecError: If several files fit.
    """
    path = Path(pattern)
    if "*" not in pattern or exists(path):
        return path

    # Sorted, so that the message is the same everywhere.
    found = sorted(glob.glob(pattern))  # noqa: PTH207 - the pattern may be absolute
    if len(found) > 1:
        some = ", ".join(found[:3]) + (", ..." if found[3:] else "")
        raise NeuronspecError(
            f"{len(found)} files fit {pattern} ({some}), but one side of a pair is one file: name it more closely"
        )
    return Path(found[0]) if found else path
