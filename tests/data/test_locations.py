"""Texts that are found under the languages' codes as the user wrote them, and what is said where they are not."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import datasets
import polib
import pytest

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


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (write_lines, "en.dev does not exist, but eng_Latn.dev does: write the languages' codes as it does"),
        (write_tsv, "zh.tsv does not exist, but zho_Hans.tsv does"),
        (write_json_lines, "as the fields do: 'eng_Latn' for 'en' and 'zho_Hans' for 'zh'"),
        (write_dataset, "as the fields do: 'eng_Latn' for 'en' and 'zho_Hans' for 'zh'"),
    ],
)
def test_a_text_in_another_spelling_is_named(write: Write, told: str, tmp_path: Path) -> None:
    template = tmp_path / write(tmp_path, "eng_Latn", "zho_Hans")
    with pytest.raises(NeuronspecError) as refused:
        texts(template, "en", "zh")
    assert told in str(refused.value)


@pytest.mark.parametrize("code", ["zh", "zh-Hant", "deu_Latn", "unk"])
def test_a_file_of_another_language_is_never_named(code: str, tmp_path: Path) -> None:
    for name in ("zho_Hans", "zho_CN", "de", "deu", "notes"):
        (tmp_path / f"{name}.tsv").touch()
    with pytest.raises(NeuronspecError) as refused:
        texts(tmp_path / "{lang}.tsv", "en", code)
    assert "as it does" not in str(refused.value)


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
