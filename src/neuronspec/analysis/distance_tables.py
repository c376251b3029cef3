"""Distances between languages from a CSV table of the user."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.languages import find_language
from neuronspec.reading_limits import read_bytes


def read_distances(path: Path, labels: Sequence[str]) -> NDArray[np.float64]:
    """Read distances from a square CSV table, whose first row and first column hold the same names.

    Args:
        path: Path of the file, UTF-8, with commas. A name is a language in any notation of `find_language`, or exactly
            a label. Further rows with their columns are ignored.
        labels: The n labels whose distances to return.

    Returns:
        (n, n) symmetric distances in the order of the labels.

    Raises:
        NeuronspecError: If there is no such file, it is not such a table, a label is missing or named twice, or the
            distances are not finite, negative, not symmetric, or not 0 on the diagonal.
    """
    # Names are read as languages only where some label is not in the table as it is written
    header, rows = _read_square(path)
    codes = [] if set(labels) <= set(header) else [_normalize_name(name) for name in header]
    places = [_find_name(label, names=header, codes=codes, path=path) for label in labels]

    # The part of the table that belongs to the labels, in their order; other cells may hold anything
    matrix = np.zeros((len(places), len(places)))
    for row, i in enumerate(places):
        for column, j in enumerate(places):
            matrix[row, column] = _read_number(rows[i][j], row=header[i], column=header[j], path=path)
    _check_distances(matrix, [header[place] for place in places], path)

    # Both ways are the same but for rounding
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 0)
    return np.asarray(matrix, dtype=np.float64)


def _check_distances(matrix: NDArray[np.float64], names: Sequence[str], path: Path) -> None:
    """Check that a matrix is 0 on the diagonal, not negative, and symmetric."""
    own = np.eye(len(matrix), dtype=bool)

    # Each rule with the cells that break it; tables are rounded, so small differences are none
    for found, expected in (
        (own & (np.abs(matrix) > 1e-9), "0 from a language to itself"),
        (~own & (matrix < 0), "no distance below 0"),
        (~np.isclose(matrix, matrix.T, rtol=1e-6, atol=1e-9), "the same distance both ways"),
    ):
        if found.any():
            i, j = np.argwhere(found)[0]
            there, back = float(matrix[i, j]), float(matrix[j, i])
            way = f"{there} from {names[i]!r} to {names[j]!r}" + (f" and {back} back" if there != back else "")
            raise NeuronspecError(f"{path}: found {way}, expected {expected}")


def _read_square(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the names of a square table and its cells, still as text."""
    lines = _read_lines(path)

    # The cell in the corner names nothing, whatever it holds
    header = lines[0][1:] if lines else []
    if not header:
        first = ",".join(lines[0])[:40] if lines else ""
        raise NeuronspecError(f"{path}: found the first row {first!r}, expected an empty cell and names, with commas")
    _check_square_names(path, header, [line[0] for line in lines[1:]])

    # Every further line: its name, and as many values as there are names
    for line in lines[1:]:
        if len(line) != len(header) + 1:
            raise NeuronspecError(f"{path}: found {len(line) - 1} values for {line[0]!r}, expected {len(header)}")
    return header, [line[1:] for line in lines[1:]]


def _read_lines(path: Path) -> list[list[str]]:
    """Return the cells of a CSV file without its blank lines."""
    lines = []
    try:
        # Spreadsheets put a byte order mark in front, and lines of commas at the end
        text = read_bytes(path).decode("utf-8-sig")
        for line in csv.reader(io.StringIO(text, newline="")):
            cells = [cell.strip() for cell in line]
            if any(cells):
                lines.append(cells)
    except FileNotFoundError as error:
        raise NeuronspecError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NeuronspecError(f"{path} cannot be read as a CSV table: {error}") from error
    return lines


def _check_square_names(path: Path, header: Sequence[str], names: Sequence[str]) -> None:
    """Check that the first row and the first column hold the same names, each once."""
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise NeuronspecError(f"{path}: found {repeated[0]!r} twice in the first row, expected each name once")
    if list(names) == list(header):
        return

    # Report the first name that differs; without one, the lengths do
    wrong = f"{len(names)} rows and {len(header)} columns"
    for name, expected in zip(names, header, strict=False):
        if name != expected:
            wrong = f"{name!r} in the first column where the first row has {expected!r}"
            break
    raise NeuronspecError(f"{path}: found {wrong}, expected the same names in the same order")


def _find_name(label: str, *, names: Sequence[str], codes: Sequence[str], path: Path) -> int:
    """Return where a label stands: as it is, else the one name of the same language."""
    if label in names:
        return names.index(label)

    # Not written like this: another spelling of the same language
    wanted = _normalize_name(label)
    places = [place for place, code in enumerate(codes) if code == wanted]
    if len(places) == 1:
        return places[0]
    if not places:
        raise NeuronspecError(
            f"{path} has no row for {label!r}{did_you_mean(label, names)}; add it, or leave out the language"
        )
    found = " and ".join(repr(names[place]) for place in places)
    raise NeuronspecError(f"{path}: found {found} for {label!r}, expected one row; name it {label!r} in the file")


def _normalize_name(name: str) -> str:
    try:
        return find_language(name).code
    except NeuronspecError:
        return name  # any string may name a task


def _read_number(text: str, *, row: str, column: str, path: Path) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")  # Refused below, like a nan in the file
    if not np.isfinite(number):
        raise NeuronspecError(f"{path}: found {text!r} from {row!r} to {column!r}, expected a finite number")
    return number
