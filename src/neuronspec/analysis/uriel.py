"""Distances between languages from the URIEL knowledge base."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from scipy.spatial import distance

from neuronspec.analysis.distances import compare_names
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.languages import UNRELATED, Language
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


def uriel_distances(languages: Sequence[Language], kind: UrielKind) -> NDArray[np.float64]:
    """Return distances from the URIEL knowledge base (Littell et al. 2017), where the package lang2vec is installed.

    Geographic distance is the great circle's, as a share of half the Earth's circumference. The other kinds are one
    less the cosine of the languages' features: the families and subgroups a language is in (genetic), or its syntax,
    phonology, phoneme inventory, or all three (featural), as URIEL predicts them where no source knows. They are
    computed here from the features, and are not the ready-made distances that URIEL has published too.

    Of lang2vec only the tables of numbers are read: no line of its code is run, nothing is unpickled, nothing
    downloaded.

    Args:
        languages: The n languages.
        kind: Kind of distance.

    Returns:
        (n, n) distances. A language that URIEL does not know, or (genetic) knows no family of, has nan in its row and
        column and on the diagonal, and `mantel` leaves it out. An isolate is at distance 1 from all others.

    Raises:
        NeuronspecError: If lang2vec is not installed or not as expected, or there is no such kind.
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

        # The cosine of two languages; a zero vector (an isolate) stays zero, at distance 1 from all
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units = np.divide(vectors, lengths, out=vectors.copy(), where=lengths != 0)
        matrix = np.clip(1 - units @ units.T, 0, 1)  # nan stays nan

    # Two tasks of one language are not apart, whatever rounding says
    matrix[compare_names(codes) & np.isfinite(np.diagonal(matrix))] = 0
    return matrix


def _read_uriel(file: str, prefix: str, codes: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of the features, and their values (codes, features), nan for an unknown code."""
    # The package is located, not imported
    found = find_library("lang2vec", "analyze.uriel (or give distances of your own as a CSV file)", "uriel")
    path = Path((found.submodule_search_locations or [""])[0]) / "data" / file
    names, known, values = _read_table(path)

    # The features of this kind, in the rows of these languages; nan where URIEL has no row
    chosen = [place for place, name in enumerate(names) if name.startswith(prefix)]
    rows = {code: row for row, code in enumerate(known)}
    vectors = np.full((len(codes), len(chosen)), np.nan)  # (codes, features)
    for place, code in enumerate(codes):
        if code in rows:
            vectors[place] = values[rows[code], chosen]
    return [names[place] for place in chosen], vectors


def _read_table(path: Path) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Return the names of a table's features, the codes of its languages, and its (languages, features) values."""
    try:
        # An .npz file is an archive of arrays; objects in it, which would run code, are refused
        arrays = {}
        with zipfile.ZipFile(path) as archive:
            for name in ("feats", "langs", "data"):
                with archive.open(f"{name}.npy") as stream:
                    arrays[name] = npy.read_array(stream, allow_pickle=False)

        names, known = arrays["feats"].tolist(), arrays["langs"].tolist()
        return names, known, arrays["data"].reshape(len(known), len(names))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise NeuronspecError(f"{path} is not as expected ({error}); run `pip install --force lang2vec`") from error


def _locate(names: Sequence[str], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 3) points on the unit sphere, from their (n, places) distances to places named GC_latitude_longitude.

    The cosine of the angle to a place is the product of two unit vectors, so the point solves a linear system.
    """
    # Radians, (places,) each
    latitude, longitude = np.radians([[float(part) for part in name.split("_")[1:]] for name in names]).T
    places = np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )  # (places, 3)

    # Least squares over all places: the solution may be a little off the sphere, and is moved onto it
    points = np.cos(np.pi * shares) @ np.linalg.pinv(places).T
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), dtype=np.float64)


def _measure_arcs(points: NDArray[np.float64]) -> NDArray[np.float64]:
    # By the chord instead of the cosine, which is inexact for near points; as a share of half the circumference
    chords = distance.cdist(points, points)  # (n, n)
    return np.asarray(2 / np.pi * np.arcsin(np.clip(chords / 2, 0, 1)), dtype=np.float64)
