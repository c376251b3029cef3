import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from neuronspec.analysis.distance_tables import read_distances
from neuronspec.analysis.distances import family_distances, script_distances, vocabulary_distances
from neuronspec.analysis.uriel import URIEL, uriel_distances
from neuronspec.errors import NeuronspecError
from neuronspec.languages import find_language, list_languages

LANGUAGES = st.lists(st.sampled_from(list_languages()), min_size=1, max_size=8)
TABLE = ",de,nl,ru\nde,0,1,4\nnl,1,0,3\nru,4,3,0\n"


def find(*codes: str) -> list[Any]:
    return [find_language(code) for code in codes]


@pytest.mark.parametrize(
    ("first", "second", "thirds"),
    [
        ("zh", "zh-Hant", 0),  # one language in two scripts
        ("pt", "pt-BR", 0),
        ("de", "nl", 1),
        ("fi", "hu", 1),
        ("ar", "he", 1),
        ("de", "ru", 2),
        ("el", "hy", 2),
        ("hi", "sq", 2),
        ("de", "fi", 3),
        ("ht", "pap", 3),  # creoles
        ("eu", "eo", 3),
        ("eo", "eo", 0),
    ],
)
def test_distances_of_families(first: str, second: str, thirds: int) -> None:
    matrix = family_distances(find(first, second))
    assert matrix[0, 1] == matrix[1, 0] == pytest.approx(thirds / 3)


def test_what_is_unknown_of_a_language_is_at_no_distance() -> None:
    languages = find("de", "hsb", "nl", "ton_Latn")
    families, scripts = family_distances(languages), script_distances(languages)
    assert np.isnan(families[[1, 3]]).all()
    assert np.isnan(families[:, [1, 3]]).all()
    assert np.isnan(scripts[1]).all()
    assert families[0, 2] == pytest.approx(1 / 3)
    assert scripts[0, 2] == scripts[0, 3] == scripts[3, 3] == 0


@given(LANGUAGES)
def test_distances_of_families_and_scripts_are_distances(languages: list[Any]) -> None:
    families, scripts = family_distances(languages), script_distances(languages)
    for matrix in (families, scripts):
        assert matrix.shape == (len(languages),) * 2
        assert (matrix == matrix.T).all()
        assert not np.diagonal(matrix).any()
        assert (matrix[:, None] <= matrix[:, :, None] + matrix[None] + 1e-12).all()  # no way round is shorter
    assert set(scripts.ravel().tolist()) <= {0.0, 1.0}


def test_distances_of_scripts() -> None:
    assert script_distances(find("sr", "ru", "hr")).tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]


@given(arrays.arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=st.integers(0, 50)))
@settings(max_examples=60)
def test_distances_of_vocabularies_are_one_less_the_weighted_jaccard(counts: NDArray[np.int64]) -> None:
    counts[:, 0] += 1
    shares = counts / counts.sum(axis=1, keepdims=True)
    expected = [[1 - np.minimum(a, b).sum() / np.maximum(a, b).sum() for b in shares] for a in shares]
    np.testing.assert_allclose(vocabulary_distances(counts), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(vocabulary_distances(counts * 7), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ([[1, 2], [0, 0]], r"text 1 \(from 0\) has no tokens"),
        ([[1, -2]], "expected .* 0 or more"),
        ([[1.0, math.nan]], "finite"),
        ([1, 2], r"shape \(2,\)"),
        ([], r"shape \(0,\)"),
    ],
)
def test_vocabulary_distances_refuse_what_are_no_counts(counts: Any, reason: str) -> None:
    with pytest.raises(NeuronspecError, match=reason):
        vocabulary_distances(counts)


@pytest.fixture
def lang2vec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data of a small URIEL, in a package that must not be run; returns the directory of the data."""
    data = tmp_path / "site" / "lang2vec" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").write_text("raise RuntimeError('the package was run')")
    codes = np.array(["deu", "eng", "eus", "nob"])
    groups = np.array([[1, 1, 0], [1, 1, 1], [0, 0, 0], [0, 0, 0]], dtype=np.float32)
    save(data / "family_features.npz", codes, ["F_Indo-European", "F_Germanic", "F_Anglian"], groups)
    features = np.array([[1, 0, 1, 1], [1, 1, 1, 0], [0, 1, 0, 1], [1, 0, 0, 1]], dtype=np.float32)
    save(data / "feature_predictions.npz", codes, ["S_SVO", "S_SOV", "P_TONE", "INV_M"], features)
    # the poles and two places on the equator, a quarter of the Earth from each other
    places = ["GC_90_0", "GC_-90_0", "GC_0_0", "GC_0_90"]
    arcs = np.array([[0, 1, 0.5, 0.5], [0.5, 0.5, 0, 0.5], [0.5, 0.5, 0.5, 0], [1, 0, 0.5, 0.5]])
    save(data / "geocoord_features.npz", codes, places, arcs)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return data


def save(path: Path, codes: NDArray[Any], names: list[str], values: NDArray[Any]) -> None:
    np.savez_compressed(path, langs=codes, feats=np.array(names), sources=np.array(["X"]), data=values[:, :, None])


def test_uriel_distances_are_cosines_of_features(lang2vec: Path) -> None:
    languages = find("de", "en", "eu", "nb")
    syntax = uriel_distances(languages, "syntactic")
    assert syntax[0].tolist() == pytest.approx([0, 1 - 1 / math.sqrt(2), 1, 0])
    assert uriel_distances(languages, "phonological")[0, 1] == 0
    assert uriel_distances(languages, "inventory")[0, 2] == 0
    assert uriel_distances(languages, "featural")[0, 1] == pytest.approx(1 - 2 / 3)


def test_uriel_knows_isolates_from_languages_it_knows_no_family_of(lang2vec: Path) -> None:
    matrix = uriel_distances(find("de", "en", "eu", "nb", "ja"), "genetic")
    nan = math.nan
    german_english = 1 - 2 / math.sqrt(6)
    expected = np.array([[0, german_english, 1], [german_english, 0, 1], [1, 1, 0]])
    np.testing.assert_allclose(matrix[:3, :3], expected, atol=1e-12)
    np.testing.assert_array_equal(matrix[3:], [[nan] * 5] * 2)  # Bokmål's family is not given, Japanese is unknown
    np.testing.assert_array_equal(matrix[:, 3:], [[nan] * 2] * 5)


def test_geographic_distances_are_arcs_of_the_great_circle(lang2vec: Path) -> None:
    matrix = uriel_distances(find("de", "en", "eu", "nb", "ja"), "geographic")
    expected = [[0, 0.5, 0.5, 1], [0.5, 0, 0.5, 0.5], [0.5, 0.5, 0, 0.5], [1, 0.5, 0.5, 0]]
    np.testing.assert_allclose(matrix[:4, :4], expected, atol=1e-7)
    assert np.isnan(matrix[4]).all()


def test_variants_of_a_language_are_at_no_distance(lang2vec: Path) -> None:
    data = lang2vec / "family_features.npz"
    save(data, np.array(["zho", "deu"]), ["F_Sino-Tibetan", "F_Indo-European"], np.eye(2))
    assert uriel_distances(find("zh", "zh-Hant", "de"), "genetic").tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]


def test_r10_pickles_in_the_files_of_uriel_are_refused(lang2vec: Path) -> None:
    save(lang2vec / "family_features.npz", np.array(["deu", {}], dtype=object), ["F_X"], np.ones((2, 1)))
    with pytest.raises(NeuronspecError, match="allow_pickle=False"):
        uriel_distances(find("de"), "genetic")


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_files_of_uriel_that_are_not_as_expected_are_refused(lang2vec: Path, content: bytes | None) -> None:
    path = lang2vec / "family_features.npz"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NeuronspecError, match=r"family_features\.npz is not as expected"):
        uriel_distances(find("de"), "genetic")


def test_uriel_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NeuronspecError, match="pip install lang2vec"):
        uriel_distances(find("de"), "genetic")


def test_an_unknown_kind_of_distance_is_refused() -> None:
    with pytest.raises(NeuronspecError, match=r"'genetik' \(did you mean 'genetic'\?\)"):
        uriel_distances(find("de"), "genetik")  # type: ignore[arg-type]


@pytest.mark.skipif(importlib.util.find_spec("lang2vec") is None, reason="lang2vec is not installed")
@pytest.mark.parametrize("kind", list(URIEL))
def test_the_real_uriel_knows_that_dutch_is_nearer_to_german_than_japanese(kind: Any) -> None:
    matrix = uriel_distances(find("de", "nl", "ja"), kind)
    assert 0 < matrix[0, 1] < matrix[0, 2] <= 1
    if kind == "geographic":
        assert matrix[0, 2] * 20_015 == pytest.approx(9_100, abs=300)  # km


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "distances.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_read_distances_in_the_order_of_the_labels(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE)
    assert read_distances(path, ["ru", "de"]).tolist() == [[0, 4], [4, 0]]
    assert read_distances(path, ["rus_Cyrl", "__nl__"]).tolist() == [[0, 3], [3, 0]]  # any notation
    assert read_distances(path, []).shape == (0, 0)


@pytest.mark.parametrize(
    "content",
    [
        TABLE.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + TABLE.encode(),
        TABLE.replace(",", " , ") + "\n\n",
        TABLE.replace("de", "deu_Latn").replace("ru", "Rus"),
        TABLE.replace("de", '"de"'),
        TABLE.replace("0,3\n", "1e-12,3\n").replace("4", "4.0000001", 1),  # noise of another program
    ],
)
def test_read_distances_as_other_programs_write_them(tmp_path: Path, content: str | bytes) -> None:
    found = read_distances(write(tmp_path, content), ["de", "nl", "ru"])
    np.testing.assert_allclose(found, [[0, 1, 4], [1, 0, 3], [4, 3, 0]], atol=1e-6)
    assert (found == found.T).all()
    assert not np.diagonal(found).any()


def test_labels_that_are_no_languages_are_taken_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, ",poem,arb,ara\npoem,0,1,x\narb,1,0,\nara,nan,-1,7\n")
    assert read_distances(path, ["arb", "poem"]).tolist() == [[0, 1], [1, 0]]  # the rest is not looked at


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "the first row ''"),
        ("\n \n", "the first row ''"),
        (TABLE.replace(",", ";"), "the first row ';de;nl;ru'"),
        (",de,nl,ru\n", "found 0 rows and 3 columns"),
        (TABLE + "fi,1,1,1\n", "found 4 rows and 3 columns"),
        (TABLE.replace("\nnl", "\nru"), "'ru' in the first column where the first row has 'nl'"),
        (TABLE.replace("ru", "nl"), "'nl' twice in the first row"),
        (TABLE.replace("nl,1,0,3", "nl,1,0"), "found 2 values for 'nl', expected 3"),
        (TABLE.replace("1,4", "one,4"), "'one' from 'de' to 'nl', expected a finite number"),
        (TABLE.replace("1,4", ",4"), "'' from 'de' to 'nl'"),
        (TABLE.replace("1,4", "nan,4"), "'nan' from 'de' to 'nl'"),
        (TABLE.replace("1,4", "1e999,4"), "'1e999' from 'de' to 'nl'"),
        (TABLE.replace("1", "-1"), r"-1\.0 from 'de' to 'nl', expected no distance below 0"),
        (TABLE.replace("1,4", "2,4"), r"2\.0 from 'de' to 'nl' and 1\.0 back, expected the same"),
        (TABLE.replace("0,3", "1,3"), r"1\.0 from 'nl' to 'nl', expected 0 from a language to itself"),
        (TABLE.replace("ru", "fi"), "has no row for 'ru'; add it"),
        (",de,rus,rus_Cyrl,nl" + "".join(f"\n{code},0,0,0,0" for code in ("de", "rus", "rus_Cyrl", "nl")), "for 'ru'"),
        (b"\xff\xfe\x00,", "cannot be read as a CSV table"),
        (",de\nde," + "0" * 200_000, "cannot be read as a CSV table"),
        (b"\x89PNG\r\n\x1a\n", "cannot be read as a CSV table"),
    ],
)
def test_tables_that_are_no_distances_are_refused(tmp_path: Path, content: str | bytes, reason: str) -> None:
    with pytest.raises(NeuronspecError, match=reason):
        read_distances(write(tmp_path, content), ["de", "nl", "ru"])


@given(st.binary(max_size=60) | st.text(alphabet=",\n\"de0 1'\x00", max_size=40).map(str.encode))
@settings(max_examples=150)
def test_no_file_crashes_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = write(tmp_path_factory.mktemp("fuzz"), content)
    try:
        outcome = str(read_distances(path, ["de"]).tolist())
    except NeuronspecError as error:
        outcome = str(error)
    assert outcome == "[[0.0]]" or str(path) in outcome


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match="does not exist"):
        read_distances(tmp_path / "none.csv", ["de"])
    with pytest.raises(NeuronspecError, match="cannot be read"):
        read_distances(tmp_path, ["de"])
