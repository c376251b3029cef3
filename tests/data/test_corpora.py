"""Reading corpora of any format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.data.reading import texts

from neuronspec.data.corpora import CORPUS_FORMATS, read_pairs
from neuronspec.data.corpus_formats import Pair, register_format
from neuronspec.errors import NeuronspecError


def test_reading_is_a_stream(tmp_path: Path) -> None:
    (tmp_path / "de.tsv").write_text("one\teins\nno tab here\n")
    pairs = read_pairs(f"{tmp_path}/{{lang}}.tsv", "en", "de")
    assert next(pairs).source == "one"


def test_a_missing_file_is_named_with_what_stands_beside_it(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "de.tsv.xz").touch()
    with pytest.raises(NeuronspecError, match=rf"{tmp_path}/train/de\.tsv does not exist.*'de\.tsv\.xz'"):
        texts(tmp_path / "train" / "{lang}.tsv", "en", "de")
    with pytest.raises(NeuronspecError, match=rf"{tmp_path}/trian does not exist \(did you mean 'train'\?\)"):
        texts(tmp_path / "trian" / "{lang}.tsv", "en", "de")


def test_a_relative_path_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NeuronspecError, match=rf"{tmp_path}/de\.tsv does not exist; {tmp_path} holds nothing"):
        texts("{lang}.tsv", "en", "de")


def test_a_directory_in_a_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "de.tsv").mkdir()
    with pytest.raises(NeuronspecError, match=r"cannot read .*de\.tsv: Is a directory"):
        texts(tmp_path / "{lang}.tsv", "en", "de", format="tsv")


@pytest.mark.parametrize(
    ("template", "options", "message"),
    [
        ("{language}.tsv", {}, r"unknown placeholder \{language\}.*did you mean 'lang'"),
        ("corpus", {}, "cannot tell the format of corpus from its name; give format, one of catalog, datasets, jsonl"),
        ("corpus", {"format": "lines"}, "names one file, not two"),
        ("{lang}.tsv", {"format": "tvs"}, "unknown corpus format 'tvs' .*'tsv'"),
    ],
)
def test_a_template_that_cannot_be_read_is_refused(template: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(NeuronspecError, match=message):
        texts(template, "en", "de", **options)


@pytest.mark.parametrize(("source", "target"), [("de", "de"), ("en", "eng_Latn")])
def test_one_language_is_no_direction(source: str, target: str) -> None:
    with pytest.raises(NeuronspecError, match="is no direction"):
        texts("{lang}.tsv", source, target)


def test_the_formats_are_those_the_documentation_names() -> None:
    assert set(CORPUS_FORMATS) == {"tsv", "lines", "opus", "tmx", "jsonl", "catalog", "datasets"}


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """A format of one's own: two texts on a line with a bar between them."""
    monkeypatch.setattr(CORPUS_FORMATS, "_entries", dict(CORPUS_FORMATS))

    @register_format("bars", "lines of two texts with a bar between them", suffixes=(".bars",))
    def read_bars(template: str, source: str, target: str) -> Iterator[Pair]:
        path = Path(template.format(src=source, tgt=target, lang=target))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            left, right = line.split("|")
            yield Pair(left, right, f"{path}:{number}")


@pytest.mark.usefixtures("bars")
def test_a_registered_format_is_known_by_its_name_and_by_its_suffix(tmp_path: Path) -> None:
    for name in ("en-de.bars", "en-de"):
        (tmp_path / name).write_text("one|eins\ntwo|zwei\n")
    assert texts(tmp_path / "{src}-{tgt}.bars", "en", "de") == [("one", "eins"), ("two", "zwei")]
    assert texts(tmp_path / "{src}-{tgt}", "en", "de", format="bars") == [("one", "eins"), ("two", "zwei")]
    with pytest.raises(NeuronspecError, match="give format, one of bars, catalog"):
        texts(tmp_path / "de-en", "en", "de")
    with pytest.raises(NeuronspecError, match=r"columns are for tables of TABs .* is read as bars"):
        texts(tmp_path / "{src}-{tgt}.bars", "en", "de", columns=[1, 2])


@pytest.mark.usefixtures("bars")
def test_two_formats_never_share_a_name_or_a_suffix() -> None:
    with pytest.raises(NeuronspecError, match=r"files that end in \.bars have the corpus format 'bars' already"):
        register_format("rods", "the same again", suffixes=(".rods", ".bars"))(iter)
    with pytest.raises(NeuronspecError, match="the corpus format 'bars' is registered already"):
        register_format("bars", "the same again")(iter)
    assert "rods" not in CORPUS_FORMATS
