"""Texts that are found under the languages' codes as the user wrote them, and what is said where they are not."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import datasets
import polib
import pytest

from neuronspec.config.sections import Corpus
from neuronspec.data.configured_corpora import list_corpus_files
from neuronspec.data.corpora import read_pairs
from neuronspec.errors import NeuronspecError
from neuronspec.languages import is_english

ENGLISH, OTHER = ["one", "two"], ["a", "b"]


def texts(template: str | Path, source: str, target: str) -> list[tuple[str, str]]:
    return [(pair.source, pair.target) for pair in read_pairs(str(template), source, target)]


def write_lines(folder: Path, english: str, other: str) -> str:
    for code, lines in ((english, ENGLISH), (other, OTHER)):
        (folder / f"{code}.dev").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return "{lang}.dev"


def write_tsv(folder: Path, english: str, other: str) -> str:
    rows = zip(ENGLISH, OTHER, strict=True)
    (folder / f"{other}.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return "{lang}.tsv"


def write_json_lines(folder: Path, english: str, other: str) -> str:
    rows = [
        {"id": "7", "translation": dict(zip((english, other), row, strict=True))}
        for row in zip(ENGLISH, OTHER, strict=True)
    ]
    (folder / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return "x.jsonl"


def write_json_catalogs(folder: Path, english: str, other: str) -> str:
    for code, lines in ((english, ENGLISH), (other, OTHER)):
        (folder / f"{code}.json").write_text(json.dumps(dict(zip("xy", lines, strict=True))), encoding="utf-8")
    return "{lang}.json"


def write_catalog(folder: Path, english: str, other: str) -> str:
    catalog = polib.POFile()
    catalog.metadata = {"Content-Type": "text/plain; charset=UTF-8"}
    catalog.extend(polib.POEntry(msgid=key, msgstr=text) for key, text in zip(ENGLISH, OTHER, strict=True))
    (folder / other / "LC_MESSAGES").mkdir(parents=True)
    catalog.save(str(folder / other / "LC_MESSAGES" / "app.po"))
    return "{lang}/LC_MESSAGES/*.po"


def write_dataset(folder: Path, english: str, other: str) -> str:
    rows = [dict(zip((english, other), row, strict=True)) for row in zip(ENGLISH, OTHER, strict=True)]
    datasets.Dataset.from_list(rows).to_parquet(folder / "x.parquet")
    return "x.parquet"


WRITERS = [write_lines, write_tsv, write_json_lines, write_json_catalogs, write_catalog, write_dataset]
Write = Callable[[Path, str, str], str]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("english", "other"),
    [("eng_Latn", "deu_Latn"), ("en", "zh-Hant"), ("eng-US", "srp-Cyrl"), ("en_XX", "x-foo"), ("eng", "gsw-bern")],
)
def test_files_fields_and_columns_have_the_codes_that_the_user_wrote(
    write: Write, english: str, other: str, tmp_path: Path
) -> None:
    template = tmp_path / write(tmp_path, english, other)
    assert texts(template, english, other) == [("one", "a"), ("two", "b")]
    assert texts(template, other, english) == [("a", "one"), ("b", "two")]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("english", "other", "asked_english", "asked"),
    [
        ("eng_Latn", "deu_Latn", "en", "de"),
        ("en", "de", "eng_Latn", "deu"),
        ("eng", "zho_Hans", "en", "zh"),
        ("en_XX", "zh-TW", "en", "zho_Hant"),
        ("EN", "sr-Latn", "en", "srp_Latn"),
        ("eng_Latn", "gsw_Bern", "en", "gsw-bern"),
        ("en", "por_BR", "en", "pt-BR"),
    ],
)
def test_files_fields_and_columns_may_spell_the_languages_otherwise(
    write: Write, english: str, other: str, asked_english: str, asked: str, tmp_path: Path
) -> None:
    template = tmp_path / write(tmp_path, english, other)
    assert texts(template, asked_english, asked) == [("one", "a"), ("two", "b")]
    assert texts(template, asked, asked_english) == [("a", "one"), ("b", "two")]


def write_member(folder: Path, english: str, other: str) -> str:
    write_lines(folder, english, other)
    with zipfile.ZipFile(folder / "all.zip", "w") as packed:
        for path in sorted(folder.glob("*.dev")):
            packed.write(path, f"deep/{path.name}")
    return "all.zip!deep/{lang}.dev"


def write_directions(folder: Path, english: str, other: str) -> str:
    for code, lines in ((english, ENGLISH), (other, OTHER)):
        (folder / f"train.{other}-{english}.{code}").write_text("\n".join(lines), encoding="utf-8")
    return "train.{src}-{tgt}.{lang}"


def write_wildcards(folder: Path, english: str, other: str) -> str:
    for name, lines in ((f"news-src.{english}.txt", ENGLISH), (f"news-ref.{other}.txt", OTHER)):
        (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return "news-*.{lang}.txt"


def write_named_table(folder: Path, english: str, other: str) -> str:
    rows = [("id", f"text_{other}", f"text_{english}"), ("x1", "a", "one"), ("x2", "b", "two")]
    (folder / f"{other}-{english}.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return "{src}-{tgt}.tsv"


@pytest.mark.parametrize("write", [write_member, write_directions, write_wildcards, write_named_table])
@pytest.mark.parametrize(
    ("english", "other"),
    [("en", "de"), ("eng_Latn", "deu_Latn"), ("eng", "deu"), ("en", "deu_Latn"), ("en_XX", "de_DE")],
)
def test_every_way_to_name_files_takes_every_spelling(write: Write, english: str, other: str, tmp_path: Path) -> None:
    template = str(tmp_path / write(tmp_path, english, other))
    columns = ["text_{src}", "text_{tgt}"] if write is write_named_table else None
    for asked, asked_english in (("de", "en"), ("deu_Latn", "eng_Latn"), ("deu", "en")):
        forward = read_pairs(template, asked, asked_english, columns=columns)
        backward = read_pairs(template, asked_english, asked, columns=columns)
        assert [(pair.source, pair.target) for pair in forward] == [("a", "one"), ("b", "two")]
        assert [(pair.source, pair.target) for pair in backward] == [("one", "a"), ("two", "b")]


def test_two_languages_of_one_run_may_be_spelled_in_two_ways(tmp_path: Path) -> None:
    (tmp_path / "de.tsv").write_text("one\teins\n", encoding="utf-8")
    (tmp_path / "fra_Latn.tsv").write_text("one\tun\n", encoding="utf-8")
    assert texts(tmp_path / "{lang}.tsv", "en", "de") == [("one", "eins")]
    assert texts(tmp_path / "{lang}.tsv", "en", "fr") == [("one", "un")]
    assert texts(tmp_path / "{lang}.tsv", "en", "deu_Latn") == [("one", "eins")]
    files = list_corpus_files([Corpus(path=str(tmp_path / "{lang}.tsv"))])
    assert [path.name for path in files] == ["de.tsv", "fra_Latn.tsv"]


def test_the_code_as_it_is_written_comes_before_every_other_spelling(tmp_path: Path) -> None:
    for code in ("de", "deu", "deu_Latn"):
        (tmp_path / f"{code}.tsv").write_text(f"one\t{code}\n", encoding="utf-8")
        assert texts(tmp_path / "{lang}.tsv", "en", code) == [("one", code)]
    with pytest.raises(NeuronspecError, match=r"3 files may be meant instead: de\.tsv, deu\.tsv, deu_Latn\.tsv"):
        texts(tmp_path / "{lang}.tsv", "en", "de_DE")


def test_it_is_logged_once_which_file_stands_for_a_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "neuronspec")
    template = tmp_path / write_lines(tmp_path, "eng_Latn", "de")
    for _ in range(2):
        assert texts(template, "en", "de")
    (message,) = [record.getMessage() for record in caplog.records]
    assert message == f"{tmp_path}/eng_Latn.dev stands for en.dev: the same language in another spelling"


@pytest.mark.parametrize(
    ("write", "code", "there"),
    [
        (write_tsv, "zh", ["zho_Hans", "zho_Hant"]),
        (write_tsv, "zho", ["zh-CN", "zh_TW"]),
        (write_tsv, "sr", ["srp_Cyrl", "srp_Latn"]),
        (write_tsv, "deu_Latn", ["de", "deu"]),
        (write_lines, "zh", ["zho_Hans", "zho_Hant"]),
        (write_lines, "en", ["deu_Latn", "eng", "eng_Latn"]),
        (write_member, "sr", ["srp_Cyrl", "srp_Latn"]),
    ],
)
def test_several_files_that_may_be_meant_are_named(write: Write, code: str, there: list[str], tmp_path: Path) -> None:
    for name in there:
        template = write(tmp_path, "eng_Latn", name)
    with pytest.raises(NeuronspecError, match="files may be meant instead") as refused:
        texts(tmp_path / template, "eng_Latn" if code != "en" else "de", code)
    named = [name for name in there if code != "en" or name.startswith("en")]
    assert all(name in str(refused.value) for name in named)


@pytest.mark.parametrize("write", [write_json_lines, write_dataset])
def test_fields_that_may_be_meant_are_named(write: Write, tmp_path: Path) -> None:
    template = tmp_path / write(tmp_path, "zho_Hans", "zho_Hant")
    with pytest.raises(NeuronspecError, match="'zho_Hans' and 'zho_Hant' may be meant by 'zh'"):
        texts(template, "en", "zh")


@pytest.mark.parametrize(
    ("asked", "there"),
    [("pt", "pt-BR"), ("pt-BR", "pt"), ("sr", "sr-Latn"), ("sr-Latn", "sr"), ("zh-Hant", "zh"), ("zh", "zho_Hant")],
)
@pytest.mark.parametrize("write", [write_tsv, write_lines, write_json_lines, write_member])
def test_no_script_and_no_region_stands_for_another(write: Write, asked: str, there: str, tmp_path: Path) -> None:
    template = tmp_path / write(tmp_path, "en", there)
    with pytest.raises(NeuronspecError):
        texts(template, "en", asked)


def test_names_without_placeholders_are_literal(tmp_path: Path) -> None:
    (tmp_path / "deu_Latn.tsv").write_text("eng\tdeu\none\teins\n", encoding="utf-8")
    with pytest.raises(NeuronspecError, match=r"de\.tsv does not exist"):
        texts(tmp_path / "de.tsv", "en", "de")
    with pytest.raises(NeuronspecError, match="no column 'en' but 'eng', the same language"):
        list(read_pairs(str(tmp_path / "deu_Latn.tsv"), "en", "de", columns=["en", "de"]))
    read = read_pairs(str(tmp_path / "{lang}.tsv"), "en", "de", columns=["{src}", "{tgt}"])
    assert [(pair.source, pair.target) for pair in read] == [("one", "eins")]


def test_special_characters_in_names_are_no_wildcards(tmp_path: Path) -> None:
    folder = tmp_path / "a[b]*"
    folder.mkdir()
    template = folder / write_lines(folder, "eng_Latn", "deu_Latn")
    assert texts(template, "en", "de") == [("one", "a"), ("two", "b")]
    (folder / "deu_Latn.tsv").write_text("one\teins\n", encoding="utf-8")
    with pytest.raises(NeuronspecError, match="does not exist"):
        texts(folder / "*{lang}.tsv", "en", "de")


@pytest.mark.parametrize("code", ["zh", "zh-Hant", "deu_Latn", "unk"])
def test_a_file_of_another_language_is_never_named(code: str, tmp_path: Path) -> None:
    for name in ("zho_Hans", "zho_CN", "de", "deu", "notes"):
        (tmp_path / f"{name}.tsv").touch()
    with pytest.raises(NeuronspecError) as refused:
        texts(tmp_path / "{lang}.tsv", "en", code)
    assert "does not exist" in str(refused.value)


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize(
    ("asked", "there"),
    [("pt-BR", "pt_BR"), ("zh_CN", "zh_Hans"), ("srp-Latn", "sr@latin"), ("no", "nb"), ("deu_Latn", "de")],
)
def test_catalogs_are_found_in_the_only_other_spelling(asked: str, there: str, archive: bool, tmp_path: Path) -> None:
    template = write_catalog(tmp_path, "en", there)
    for other in ("fr", "sr", "pt", "zh_Hant"):
        (tmp_path / other / "LC_MESSAGES").mkdir(parents=True, exist_ok=True)
        (tmp_path / other / "LC_MESSAGES" / "app.po").touch()
    place = f"{tmp_path}/{template}"
    if archive:
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
            for path in sorted(tmp_path.rglob("*.po")):
                packed.write(path, path.relative_to(tmp_path))
        place = f"{tmp_path}/all.zip!{template}"
    assert texts(place, "en", asked) == [("one", "a"), ("two", "b")]


def test_catalogs_in_several_other_spellings_are_not_chosen_from(tmp_path: Path) -> None:
    template = tmp_path / write_catalog(tmp_path, "en", "zh_CN")
    write_catalog(tmp_path, "en", "zh_Hans")
    assert texts(template, "en", "zh_CN")
    with pytest.raises(NeuronspecError):
        texts(template, "en", "zho")


def test_of_two_englishes_the_main_one_is_what_others_are_centred_on(tmp_path: Path) -> None:
    assert is_english("eng-GB")
    template = tmp_path / write_tsv(tmp_path, "en", "eng-GB")
    assert texts(template, "en", "eng-GB") == [("one", "a"), ("two", "b")]
    assert texts(template, "eng-GB", "en_US") == [("a", "one"), ("b", "two")]
    with pytest.raises(NeuronspecError, match="source and target are the same language"):
        texts(template, "en", "eng-US")
