import gzip
import zipfile
from pathlib import Path

import pytest

from neuronspec.data.corpora import read_pairs
from neuronspec.errors import NeuronspecError

LINES = {"de": "Eins\nZwei\n", "en": "One\nTwo\n"}
PAIRS = [("Eins", "One"), ("Zwei", "Two")]


def write_zip(path: Path, members: dict[str, str | bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)


def read(template: str, source: str = "de", target: str = "en") -> list[tuple[str, str]]:
    return [(pair.source, pair.target) for pair in read_pairs(template, source, target)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    others = {"README": "about\n", "LICENSE": "free\n", "Books.de-en.xml": "<links/>", "Books.de-en.ids": "1\n2\n"}
    write_zip(tmp_path / "de-en.txt.zip", {**others, "Books.de-en.de": LINES["de"], "Books.de-en.en": LINES["en"]})
    return tmp_path


@pytest.mark.parametrize("name", ["de-en.txt.zip", "{src}-{tgt}.txt.zip", "de-en.txt.zip!Books.de-en.{lang}"])
def test_an_archive_of_opus_is_read_either_way(folder: Path, name: str) -> None:
    assert read(f"{folder}/{name}") == PAIRS
    assert read(f"{folder}/{name}", "en", "de") == [(target, source) for source, target in PAIRS]


def test_the_codes_of_the_members_may_be_spelled_otherwise(folder: Path) -> None:
    assert read(f"{folder}/de-en.txt.zip", "deu_Latn", "eng_Latn") == PAIRS
    write_zip(folder / "x.zip", {"a/GNOME.en_GB-pt_br.pt_br": LINES["de"], "a/GNOME.en_GB-pt_br.en_GB": LINES["en"]})
    assert read(f"{folder}/x.zip", "pt-BR", "en") == PAIRS


def test_places_name_the_member(folder: Path) -> None:
    places = [pair.place for pair in read_pairs(f"{folder}/de-en.txt.zip", "de", "en")]
    assert places == [f"{folder}/de-en.txt.zip!Books.de-en.de:{number}" for number in (1, 2)]


def test_members_may_be_compressed_once_more(tmp_path: Path) -> None:
    packed: dict[str, str | bytes] = {f"x.{code}.gz": gzip.compress(text.encode()) for code, text in LINES.items()}
    write_zip(tmp_path / "x.zip", packed)
    assert read(f"{tmp_path}/x.zip") == PAIRS


def test_a_single_member_is_named(tmp_path: Path) -> None:
    write_zip(tmp_path / "deu-eng.zip", {"_about.txt": "about", "deu.tsv": "One\tEins\tCC-BY\nTwo\tZwei\tCC-BY\n"})
    assert read(f"{tmp_path}/deu-eng.zip!deu.tsv", "en", "de") == [(target, source) for source, target in PAIRS]
    with pytest.raises(NeuronspecError, match=r"holds no text in de and en.* it has _about\.txt, deu\.tsv; .*!MEMBER"):
        read(f"{tmp_path}/deu-eng.zip")


def test_several_texts_are_refused_with_their_names(tmp_path: Path) -> None:
    write_zip(tmp_path / "x.zip", {f"{part}.{code}": text for part in ("dev", "test") for code, text in LINES.items()})
    with pytest.raises(
        NeuronspecError, match=r"several texts in de and en: dev, test; name one: \S*x\.zip!dev\.\{lang\}"
    ):
        read(f"{tmp_path}/x.zip")
    assert read(f"{tmp_path}/x.zip!test.{{lang}}") == PAIRS


def test_sides_of_different_length_are_refused(tmp_path: Path) -> None:
    write_zip(tmp_path / "x.zip", {"a.de": "Eins\n", "a.en": LINES["en"]})
    with pytest.raises(NeuronspecError, match=r"x\.zip!a\.de has 1 lines, but \S*x\.zip!a\.en has 2"):
        read(f"{tmp_path}/x.zip")


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 cut"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(NeuronspecError, match=r"x\.zip is not a sound zip archive"):
        read(f"{tmp_path}/x.zip")
    with pytest.raises(NeuronspecError, match=r"y\.zip does not exist \(did you mean 'x\.zip'"):
        read(f"{tmp_path}/y.zip")
