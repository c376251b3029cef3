"""How far apart languages are: in family, script, vocabulary, in the URIEL knowledge base, or in a table of one's own.

The distances to compare overlaps of neurons with, by `neuronspec.statistics.correlation.mantel`.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import distance

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.languages import UNKNOWN, UNRELATED, Language, find_language
from neuronspec.libraries import find_library

UrielKind = Literal["genetic", "geographic", "syntactic", "phonological", "inventory", "featural"]
# kind -> the file in lang2vec's data, and how the names of its features begin
URIEL: dict[UrielKind, tuple[str, str]] = {
    "genetic": ("family_features.npz", "F_"),
    "geographic": ("geocoord_features.npz", "GC_"),
    "syntactic": ("feature_predictions.npz", "S_"),
    "phonological": ("feature_predictions.npz", "P_"),
    "inventory": ("feature_predictions.npz", "INV_"),
    "featural": ("feature_predictions.npz", ""),
}


def family_distances(languages: Sequence[Language]) -> NDArray[np.float64]:
    """Return how distantly related languages are, by the families of the table of languages.

    0: the same language (ISO 639-3), whatever its script; 1/3: the same branch of Indo-European, or the same other
    family; 2/3: two branches of Indo-European; 1: not related, as an isolate, a creole and a constructed language are
    to all others.

    Args:
        languages: n of them.

    Returns:
        (n, n) distances, 0..1. A language of unknown family has nan in its row and column and on the diagonal, and
        `mantel` leaves it out.

    Example:
        >>> family_distances([find_language(code) for code in ("de", "nl", "ru", "fi")])[0].round(2).tolist()
        [0.0, 0.33, 0.67, 1.0]
    """
    same_language, same_top, same_lineage = (
        _compare(names)
        for names in (
            [language.iso3 for language in languages],
            [language.lineage[:1] or language.iso3 for language in languages],
            [language.lineage or language.iso3 for language in languages],
        )
    )
    steps = np.select([same_language, same_lineage, same_top], [0, 1, 2], default=3)
    return _leave_out_unknown(steps / 3, [language.family for language in languages])


def script_distances(languages: Sequence[Language]) -> NDArray[np.float64]:
    """Return 0 for two languages in the same script, else 1.

    Args:
        languages: n of them.

    Returns:
        (n, n) distances. A language in an unknown script has nan in its row and column and on the diagonal, and
        `mantel` leaves it out.

    Example:
        >>> script_distances([find_language(code) for code in ("hi", "mr", "ur")])[0].tolist()
        [0.0, 0.0, 1.0]
    """
    scripts = [language.script for language in languages]
    return _leave_out_unknown(np.where(_compare(scripts), 0.0, 1.0), scripts)


def _leave_out_unknown(distances: NDArray[np.float64], facts: Sequence[str]) -> NDArray[np.float64]:
    """Return distances with nan in the rows and columns of the languages of which a fact is unknown."""
    unknown = np.array([fact == UNKNOWN for fact in facts], dtype=bool)
    return np.where(unknown[:, None] | unknown[None], np.nan, distances)


def vocabulary_distances(counts: ArrayLike) -> NDArray[np.float64]:
    """Return how little the tokens of texts have in common: 1 - weighted Jaccard of their relative frequencies.

    The overlap of two texts is the sum over tokens of the smaller frequency, divided by the sum of the larger.

    Args:
        counts: (n, vocabulary) how often each token occurs in each text.

    Returns:
        (n, n) distances: 0 for equal frequencies, 1 for no token in common.

    Raises:
        NeuronspecError: not such a table, a negative count, or a text without tokens.

    Example:
        >>> vocabulary_distances([[2, 2, 0], [1, 1, 0], [0, 5, 5]])[0].round(3).tolist()
        [0.0, 0.0, 0.667]
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all() or table.min() < 0:
        raise NeuronspecError(
            f"found token counts of shape {table.shape}, expected (texts, vocabulary) with finite counts of 0 or more"
        )
    totals = table.sum(axis=1, keepdims=True)
    if not totals.all():
        raise NeuronspecError(f"text {int(totals.argmin())} (from 0) has no tokens; leave it out")
    # frequencies sum to 1, so with d half their absolute difference the minima sum to 1 - d, the maxima to 1 + d
    half = distance.pdist(table / totals, "cityblock") / 2  # (n * (n - 1) / 2,)
    return np.asarray(distance.squareform(2 * half / (1 + half)), dtype=np.float64)


def uriel_distances(languages: Sequence[Language], kind: UrielKind) -> NDArray[np.float64]:
    """Return distances from the URIEL knowledge base (Littell et al. 2017), where the package lang2vec is installed.

    Geographic distance is the great circle's, as a share of half the Earth's circumference. The other kinds are one
    less the cosine of the languages' features: the families and subgroups a language is in (genetic), or its syntax,
    phonology, phoneme inventory, or all three (featural), as URIEL predicts them where no source knows. They are
    computed here from the features, and are not the ready-made distances that URIEL has published too.

    Of lang2vec only the tables of numbers are read: no line of its code is run, nothing is unpickled, nothing
    downloaded.

    Args:
        languages: n of them.
        kind: which distance.

    Returns:
        (n, n) distances. A language that URIEL does not know, or (genetic) knows no family of, has nan in its row and
        column and on the diagonal, and `mantel` leaves it out. An isolate is at distance 1 from all others.

    Raises:
        NeuronspecError: lang2vec is not installed or not as expected, or there is no such kind.
    """
    if kind not in URIEL:
        raise NeuronspecError(
            f"unknown URIEL distance {kind!r}{did_you_mean(kind, URIEL)}; expected {', '.join(URIEL)}"
        )
    codes = [language.iso3 for language in languages]
    names, vectors = _read_uriel(*URIEL[kind], codes)
    if kind == "geographic":
        matrix = _measure_arcs(_locate(names, vectors))
    else:
        if kind == "genetic":
            isolated = np.array([language.family in UNRELATED for language in languages], dtype=bool)
            vectors[(vectors.sum(axis=1) == 0) & ~isolated] = np.nan  # URIEL does not say, or it would be an isolate
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units = np.divide(vectors, lengths, out=vectors.copy(), where=lengths != 0)
        matrix = np.clip(1 - units @ units.T, 0, 1)  # nan stays nan
    matrix[_compare(codes) & np.isfinite(np.diagonal(matrix))] = 0
    return matrix


def read_distances(path: Path, labels: Sequence[str]) -> NDArray[np.float64]:
    """Read distances of one's own from a square CSV table: a first row and a first column of names, the same ones.

    Args:
        path: of the file, UTF-8, with commas. A name is a language in any notation of `find_language`, or a label as
            it stands. Further rows with their columns are ignored.
        labels: whose distances to return, n of them.

    Returns:
        (n, n) symmetric distances in the order of the labels.

    Raises:
        NeuronspecError: there is no such file, it is not such a table, a label is missing or named twice, or the
            distances are not finite, negative, not symmetric, or not 0 on the diagonal.
    """
    header, rows = _read_square(path)
    codes = [] if set(labels) <= set(header) else [_normalise(name) for name in header]
    places = [_find_name(label, header, codes, path) for label in labels]
    names = [header[place] for place in places]
    matrix = np.array([[_read_number(rows[i][j], header[i], header[j], path) for j in places] for i in places])
    matrix = matrix.reshape(len(places), len(places))
    for found, expected in (
        (np.eye(len(places), dtype=bool) & (np.abs(matrix) > 1e-9), "0 from a language to itself"),
        (~np.eye(len(places), dtype=bool) & (matrix < 0), "no distance below 0"),
        (~np.isclose(matrix, matrix.T, rtol=1e-6, atol=1e-9), "the same distance both ways"),
    ):
        if found.any():
            i, j = np.argwhere(found)[0]
            there, back = float(matrix[i, j]), float(matrix[j, i])
            way = f"{there} from {names[i]!r} to {names[j]!r}" + (f" and {back} back" if there != back else "")
            raise NeuronspecError(f"{path}: found {way}, expected {expected}")
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 0)
    return np.asarray(matrix, dtype=np.float64)


def _compare(names: Sequence[object]) -> NDArray[np.bool_]:
    """Return (n, n) whether two names are the same."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    column = np.array([numbers[name] for name in names])
    return np.asarray(column[:, None] == column[None, :])


def _read_uriel(file: str, prefix: str, codes: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of the features, and their values (codes, features), nan for an unknown code."""
    found = find_library("lang2vec", "analysis.uriel (or give distances of your own as a CSV file)", "uriel")
    path = Path((found.submodule_search_locations or [""])[0]) / "data" / file
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {}
            for name in ("feats", "langs", "data"):
                with archive.open(f"{name}.npy") as stream:
                    arrays[name] = npy.read_array(stream, allow_pickle=False)
        names, known = arrays["feats"].tolist(), arrays["langs"].tolist()
        values = arrays["data"].reshape(len(known), len(names))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise NeuronspecError(f"{path} is not as expected ({error}); run `pip install --force lang2vec`") from error
    chosen = [place for place, name in enumerate(names) if name.startswith(prefix)]
    rows = {code: row for row, code in enumerate(known)}
    vectors = np.full((len(codes), len(chosen)), np.nan)
    for place, code in enumerate(codes):
        if code in rows:
            vectors[place] = values[rows[code], chosen]
    return [names[place] for place in chosen], vectors


def _locate(names: Sequence[str], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 3) points on the unit sphere, from their (n, places) distances to places named GC_latitude_longitude.

    The cosine of the angle to a place is the product of two unit vectors, so the point solves a linear system.
    """
    latitude, longitude = np.radians([[float(part) for part in name.split("_")[1:]] for name in names]).T
    places = np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )  # (places, 3)
    points = np.cos(np.pi * shares) @ np.linalg.pinv(places).T
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), dtype=np.float64)


def _measure_arcs(points: NDArray[np.float64]) -> NDArray[np.float64]:
    chords = distance.cdist(points, points)
    return np.asarray(2 / np.pi * np.arcsin(np.clip(chords / 2, 0, 1)), dtype=np.float64)


def _read_square(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the names of a square table and its cells, still as text."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [[cell.strip() for cell in line] for line in csv.reader(file) if any(map(str.strip, line))]
    except FileNotFoundError as error:
        raise NeuronspecError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NeuronspecError(f"{path} cannot be read as a CSV table: {error}") from error
    header = lines[0][1:] if lines else []
    if not header:
        first = ",".join(lines[0])[:40] if lines else ""
        raise NeuronspecError(f"{path}: found the first row {first!r}, expected an empty cell and names, with commas")
    repeated = [name for place, name in enumerate(header) if name in header[:place]]
    if repeated:
        raise NeuronspecError(f"{path}: found {repeated[0]!r} twice in the first row, expected each name once")
    names = [line[0] for line in lines[1:]]
    if names != header:
        place = next((i for i, pair in enumerate(zip(names, header, strict=False)) if pair[0] != pair[1]), None)
        wrong = f"{len(names)} rows and {len(header)} columns"
        if place is not None:
            wrong = f"{names[place]!r} in the first column where the first row has {header[place]!r}"
        raise NeuronspecError(f"{path}: found {wrong}, expected the same names in the same order")
    for line in lines[1:]:
        if len(line) != len(header) + 1:
            raise NeuronspecError(f"{path}: found {len(line) - 1} values for {line[0]!r}, expected {len(header)}")
    return header, [line[1:] for line in lines[1:]]


def _find_name(label: str, names: Sequence[str], codes: Sequence[str], path: Path) -> int:
    """Return where a label stands: as it is, else the one name of the same language."""
    if label in names:
        return names.index(label)
    wanted = _normalise(label)
    places = [place for place, code in enumerate(codes) if code == wanted]
    if len(places) == 1:
        return places[0]
    if not places:
        raise NeuronspecError(
            f"{path} has no row for {label!r}{did_you_mean(label, names)}; add it, or leave out the language"
        )
    found = " and ".join(repr(names[place]) for place in places)
    raise NeuronspecError(f"{path}: found {found} for {label!r}, expected one row; name it {label!r} in the file")


def _normalise(name: str) -> str:
    try:
        return find_language(name).code
    except NeuronspecError:
        return name  # any string may name a task


def _read_number(text: str, row: str, column: str, path: Path) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise NeuronspecError(f"{path}: found {text!r} from {row!r} to {column!r}, expected a finite number")
    return number
