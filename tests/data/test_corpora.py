import gzip
import json
import lzma
import sys
from pathlib import Path
from typing import Any

import pytest

from neuronspec.data.corpora import CORPUS_FORMATS, read_pairs
from neuronspec.data.corpus_formats import Pair
from neuronspec.errors import NeuronspecError


def texts(path: Path | str, source: str, target: str, **options: Any) -> list[tuple[str, str]]:
    return [(pair.source, pair.target) for pair in read_pairs(str(path), source, target, **options)]


def test_a_tsv_file_is_read_in_order_and_either_way(tmp_path: Path) -> None:
    (tmp_path / "de.tsv.xz").write_bytes(lzma.compress(b"one\teins\ttatoeba\tx\ntwo\tzwei\n"))
    template = f"{tmp_path}/{{lang}}.tsv.xz"
    assert list(read_pairs(template, "en", "de")) == [
        Pair("one", "eins", f"{tmp_path}/de.tsv.xz:1"),
        Pair("two", "zwei", f"{tmp_path}/de.tsv.xz:2"),
    ]
    assert texts(template, "de", "en") == [("eins", "one"), ("zwei", "two")]


def test_a_tsv_file_named_by_direction_serves_the_other_direction(tmp_path: Path) -> None:
    (tmp_path / "en-de.tsv").write_text("one\teins\n")
    template = f"{tmp_path}/{{src}}-{{tgt}}.tsv"
    assert texts(template, "en", "de") == [("one", "eins")]
    assert texts(template, "de", "en") == [("eins", "one")]
    (tmp_path / "de-en.tsv").write_text("zwei\ttwo\n")
    assert texts(template, "de", "en") == [("zwei", "two")]


def test_a_corpus_without_english_never_falls_back_on_the_other_file(tmp_path: Path) -> None:
    (tmp_path / "de.tsv").write_text("one\teins\n")
    with pytest.raises(NeuronspecError, match=r"fr\.tsv does not exist"):
        texts(f"{tmp_path}/{{lang}}.tsv", "de", "fr")


def test_a_line_without_a_tab_is_refused(tmp_path: Path) -> None:
    (tmp_path / "de.tsv").write_text("one\teins\ntwo zwei\n")
    with pytest.raises(NeuronspecError, match=r"de\.tsv:2 has no TAB: 'two zwei'"):
        texts(f"{tmp_path}/{{lang}}.tsv", "en", "de")


def test_reading_is_a_stream(tmp_path: Path) -> None:
    (tmp_path / "de.tsv").write_text("one\teins\nno tab here\n")
    pairs = read_pairs(f"{tmp_path}/{{lang}}.tsv", "en", "de")
    assert next(pairs).source == "one"


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


@pytest.mark.parametrize(
    "row",
    [
        {"translation": {"en": "one", "de": "eins", "fr": "un"}},
        {"en": "one", "de": "eins", "id": 7},
        {"source": "one", "target": "eins"},
    ],
)
@pytest.mark.parametrize("name", ["{lang}.jsonl", "{src}-{tgt}.jsonl"])
def test_json_lines_of_every_shape_are_read_either_way(tmp_path: Path, row: dict[str, Any], name: str) -> None:
    path = tmp_path / name.replace("{src}-{tgt}", "en-de").replace("{lang}", "de")
    path.write_text(json.dumps(row) + "\n")
    assert texts(tmp_path / name, "en", "de") == [("one", "eins")]
    assert texts(tmp_path / name, "de", "en") == [("eins", "one")]


def test_a_json_null_is_an_empty_text(tmp_path: Path) -> None:
    (tmp_path / "de.jsonl").write_text('{"en": "one", "de": null}\n{"en": null, "de": "zwei"}\n')
    assert texts(tmp_path / "{lang}.jsonl", "en", "de") == [("one", ""), ("", "zwei")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"en": "one", "de"', r"de\.jsonl:2 is not valid JSON"),
        ("[" * 100_000, r"de\.jsonl:2 is not valid JSON"),
        ('["one", "eins"]', r"de\.jsonl:2 is not a JSON object"),
        ('{"translation": "one"}', r"de\.jsonl:2 is not a JSON object"),
        (
            '{"en": "one", "fr": "un"}',
            r"de\.jsonl:2 has the fields en, fr; expected texts under 'en' and 'de'",
        ),
        ('{"en": "one", "de": 1}', r"de\.jsonl:2 has the fields en, de"),
        ("{}", r"de\.jsonl:2 has the fields none"),
    ],
)
def test_json_that_does_not_fit_is_refused_by_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "de.jsonl").write_text('{"en": "one", "de": "eins"}\n' + line + "\n")
    with pytest.raises(NeuronspecError, match=message):
        texts(tmp_path / "{lang}.jsonl", "en", "de")


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


def test_without_the_library_datasets_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(NeuronspecError, match=r"pip install 'neuronspec\[hub\]'"):
        texts("hub:someone/corpus", "en", "de")


class HubWithOneConfiguration:
    """Stands in for the library: it knows `de-en` only and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, str]] = []

    def load_dataset(self, name: str, config: str | None, split: str, streaming: bool) -> list[dict[str, Any]]:
        assert streaming
        self.asked.append((name, config, split))
        if config not in (None, "de-en"):
            raise ValueError(f"BuilderConfig {config!r} not found")
        return [{"translation": {"de": "eins", "en": "one"}}]


def test_a_hub_name_may_hold_configuration_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = HubWithOneConfiguration()
    monkeypatch.setitem(sys.modules, "datasets", hub)
    assert texts("hub:org/opus:{src}-{tgt}:test", "en", "de") == [("one", "eins")]
    assert texts("hub:org/opus", "en", "de") == [("one", "eins")]
    assert hub.asked == [
        ("org/opus", "en-de", "test"),
        ("org/opus", "de-en", "test"),
        ("org/opus", None, "train"),
    ]


def test_an_unknown_configuration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", HubWithOneConfiguration())
    with pytest.raises(NeuronspecError, match="cannot load hub:org/opus:xx for en-de: BuilderConfig 'xx' not found"):
        texts("hub:org/opus:xx", "en", "de")


ROWS = [{"translation": {"en": "one", "de": "eins"}}, {"translation": {"en": "two", "de": "zwei"}}]


@pytest.mark.parametrize("kind", ["saved", "saved splits", "folder", "parquet", "json"])
def test_a_local_dataset_is_read(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    data = datasets.Dataset.from_list(ROWS)
    if kind == "saved":
        data.save_to_disk(tmp_path / "en-de")
    elif kind == "saved splits":
        datasets.DatasetDict({"train": data}).save_to_disk(tmp_path / "en-de")
    elif kind == "folder":
        data.to_parquet(tmp_path / "en-de" / "train.parquet")
    elif kind == "parquet":
        data.to_parquet(tmp_path / "en-de.parquet")
    else:
        (tmp_path / "en-de.json").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    template = tmp_path / ("{src}-{tgt}" + {"parquet": ".parquet", "json": ".json"}.get(kind, ""))
    format = "datasets" if kind == "json" else "auto"
    assert texts(template, "en", "de", format=format) == [("one", "eins"), ("two", "zwei")]
    assert texts(template, "de", "en", format=format) == [("eins", "one"), ("zwei", "two")]


def test_a_saved_dataset_without_a_train_split_is_refused(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"test": datasets.Dataset.from_list(ROWS)}).save_to_disk(tmp_path / "corpus")
    with pytest.raises(NeuronspecError, match=r"has no split 'train', only test"):
        texts(tmp_path / "corpus", "en", "de")
    assert texts(tmp_path / "corpus" / "test", "en", "de") == [("one", "eins"), ("two", "zwei")]


def test_a_damaged_dataset_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "de.parquet").write_bytes(b"PAR1 but no more than that")
    with pytest.raises(NeuronspecError, match=r"cannot load .*parquet for en-de"):
        texts(tmp_path / "{lang}.parquet", "en", "de")
    with pytest.raises(NeuronspecError, match=r"fr\.parquet does not exist"):
        texts(tmp_path / "{lang}.parquet", "en", "fr")


@pytest.mark.parametrize("name", ["talks.de-en.tsv", "deu-eng.tsv.gz", "x.de_DE-eng_Latn.v1.tsv"])
def test_a_table_that_is_named_after_the_other_direction_is_never_read_the_wrong_way_round(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("Guten Tag\tGood day\n")
    assert texts(tmp_path / name, "de", "en") == [("Guten Tag", "Good day")]
    for options in ({}, {"columns": [1, 2]}):
        with pytest.raises(NeuronspecError, match=r"not of en-de, so its first .* write .*\{src\}-\{tgt"):
            texts(tmp_path / name, "en", "de", **options)


def test_the_name_that_the_message_advises_turns_the_table_round(tmp_path: Path) -> None:
    (tmp_path / "talks.de-en.tsv").write_text("1\tGuten Tag\t2\tGood day\n")
    assert texts(tmp_path / "talks.{src}-{tgt}.tsv", "en", "de", columns=[2, 4]) == [("Good day", "Guten Tag")]
