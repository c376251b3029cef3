"""Two files that are aligned line by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from tests.data.reading import texts

from neuronspec.errors import NeuronspecError


@pytest.mark.parametrize(
    ("template", "en", "de"),
    [
        ("{lang}.txt", "en.txt", "de.txt"),
        ("valid.{lang}", "valid.en", "valid.de"),
        ("{lang}/news", "en/news", "de/news"),
        ("train.{src}-{tgt}.{lang}", "train.en-de.en", "train.en-de.de"),
        ("train.{src}-{tgt}.{lang}", "train.de-en.en", "train.de-en.de"),
    ],
)
def test_two_aligned_files_are_read_either_way(tmp_path: Path, template: str, en: str, de: str) -> None:
    for name, text in ((en, "one\n\x0ctwo\u2028\n"), (de, "eins\nzwei\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    path = tmp_path / template
    assert texts(path, "en", "de") == [("one", "eins"), ("\x0ctwo\u2028", "zwei")]
    assert texts(path, "de", "en") == [("eins", "one"), ("zwei", "\x0ctwo\u2028")]


def test_aligned_files_whose_names_differ_elsewhere_are_found_by_a_wildcard(tmp_path: Path) -> None:
    # The names of NTREX: the English text is the source, every other one a reference.
    (tmp_path / "newstest2019-src.eng.txt").write_text("Good day\n")
    (tmp_path / "newstest2019-ref.eng-GB.txt").write_text("Hello\n")
    (tmp_path / "newstest2019-ref.srp-Cyrl.txt").write_text("Добар дан\n")
    template = f"{tmp_path}/newstest2019-*.{{lang}}.txt"
    assert texts(template, "eng", "srp-Cyrl") == [("Good day", "Добар дан")]
    assert texts(template, "srp-Cyrl", "eng") == [("Добар дан", "Good day")]


def test_a_wildcard_that_several_aligned_files_fit_is_refused(tmp_path: Path) -> None:
    for name in ("a.en", "b.en", "a.de"):
        (tmp_path / name).write_text("x\n")
    with pytest.raises(NeuronspecError, match=r"2 files fit .*/\*\.en \(.*a\.en, .*b\.en\), but one side of a pair is"):
        texts(f"{tmp_path}/*.{{lang}}", "en", "de")
    with pytest.raises(NeuronspecError, match=r"c\*\.en does not exist"):
        texts(f"{tmp_path}/c*.{{lang}}", "en", "de")


def test_compressed_aligned_files_are_told_by_their_name(tmp_path: Path) -> None:
    (tmp_path / "t.en.gz").write_bytes(gzip.compress(b"one\n"))
    (tmp_path / "t.de.gz").write_bytes(gzip.compress(b"eins\n"))
    assert texts(tmp_path / "t.{lang}.gz", "en", "de") == [("one", "eins")]


@pytest.mark.parametrize(("en", "de"), [(3, 5), (5, 3), (0, 1)])
def test_unequal_numbers_of_lines_are_refused_with_both_counts(tmp_path: Path, en: int, de: int) -> None:
    (tmp_path / "t.en").write_text("x\n" * en)
    (tmp_path / "t.de").write_text("x\n" * de)
    with pytest.raises(NeuronspecError, match=rf"t\.en has {en} lines, but \S*t\.de has {de}"):
        texts(tmp_path / "t.{lang}", "en", "de")
