"""Corpora are found in every usual layout, and everything that is not used is listed with the reason."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.proposal.layouts import json_lines, lines, memory, sentences, table, write

from neuronspec.config.sections import Corpus
from neuronspec.data import read_pairs
from neuronspec.errors import NeuronspecError
from neuronspec.proposal import Discovery, discover

Files = Mapping[str, str | Mapping[str, str]]
FLORES = ("eng_Latn", "deu_Latn", "fra_Latn")
GERMAN = {"en": lines("en"), "de": lines("de")}

# Files; then each corpus as `part path languages`, with the columns that it names
LAYOUTS: dict[str, tuple[Files, list[str]]] = {
    "a table for each language": (
        {"de.tsv": table("en", "de"), "fr.tsv": table("en", "fr")},
        ["train {lang}.tsv de,fr"],
    ),
    "a table with the other language first": ({"de.tsv": table("de", "en")}, ["train {lang}.tsv de [2, 1]"]),
    "a table for a direction": ({"talks.de-en.tsv.gz": table("de", "en")}, ["train talks.{src}-{tgt}.tsv.gz de"]),
    "a table for a direction with underscores": ({"de_en.tsv": table("de", "en")}, ["train {src}_{tgt}.tsv de"]),
    "a table named after the other direction": (
        {"talks.en-de.tsv": table("de", "en")},
        ["train talks.{src}-{tgt}.tsv de [2, 1]"],
    ),
    "a table without a language in its name": ({"corpus.tsv": table("de", "en")}, ["train corpus.tsv de [2, 1]"]),
    "a table with scores": (
        {"WikiMatrix.de-en.tsv": "".join(f"1.0{n}\t{row}" for n, row in enumerate(table("de", "en").splitlines(True)))},
        ["train WikiMatrix.{src}-{tgt}.tsv de [2, 3]"],
    ),
    "a table whose first line has codes": (
        {"all.tsv": table("en", "de", "fr", header=["eng_Latn", "deu_Latn", "fra_Latn"])},
        ["train all.tsv deu_Latn,fra_Latn ['{src}', '{tgt}']"],
    ),
    "a table whose first line has names": (
        {"corpus.tsv": table("de", "en", header=["German", "English"])},
        ["train corpus.tsv de ['English', 'German']"],
    ),
    "a table whose first line has titles": (
        {
            "de.tsv": table("de", "en", header=["Source", "Target"]),
            "x.en-fr.tsv": table("en", "fr", header=["src", "tgt"]),
        },
        ["train x.{src}-{tgt}.tsv fr ['src', 'tgt']", "train {lang}.tsv de ['Target', 'Source']"],
    ),
    "a table that begins with blank lines": (
        {"de.tsv": "\n \n" + table("en", "de"), "all.tsv": "\n" + table("en", "nl", header=["en", "nl"])},
        ["train {lang}.tsv de", "train all.tsv nl ['{src}', '{tgt}']"],
    ),
    "a table without a suffix": ({"corpus.de": table("en", "de")}, ["train corpus.{lang} de"]),
    "two aligned files": ({"europarl.en": GERMAN["en"], "europarl.de": GERMAN["de"]}, ["train europarl.{lang} de"]),
    "two aligned files of a direction": (
        {"train.de-en.de": GERMAN["de"], "train.de-en.en": GERMAN["en"]},
        ["train train.{src}-{tgt}.{lang} de"],
    ),
    "two directions": (
        {
            **{f"train.de-en.{code}": text for code, text in GERMAN.items()},
            **{f"train.en-fr.{code}": lines(code) for code in ("en", "fr")},
        },
        ["train train.{src}-{tgt}.{lang} de,fr"],
    ),
    "folders of directions": (
        {f"{pair}/corpus.{code}": lines(code) for pair in ("de-en", "fr-en") for code in pair.split("-")},
        ["train {src}-{tgt}/corpus.{lang} de,fr"],
    ),
    "folders of languages": (
        {f"{code}/text.txt.xz": lines(code) for code in ("de", "en", "fr")},
        ["train {lang}/text.txt.xz de,fr"],
    ),
    "one folder for each language": (
        {f"{pair}/corpus.{code}": lines(code) for pair in ("de", "fr") for code in (pair, "en")},
        ["train de/corpus.{lang} de", "train fr/corpus.{lang} fr"],
    ),
    "parts by names": (
        {f"{part}.{code}": lines(code) for part in ("train", "dev", "tst2013") for code in ("de", "en")},
        ["train train.{lang} de", "valid dev.{lang} de", "test tst2013.{lang} de"],
    ),
    "parts by folders": (
        {f"{part}/de.tsv": table("en", "de") for part in ("training", "validation", "test")},
        ["train training/{lang}.tsv de", "valid validation/{lang}.tsv de", "test test/{lang}.tsv de"],
    ),
    "flores": (
        {"train.tsv": table("en", "de")}
        | {f"flores200/{part}/{code}.{part}": lines(code[:2]) for part in ("dev", "devtest") for code in FLORES},
        [
            "train train.tsv deu_Latn",
            "valid flores200/dev/{lang}.dev deu_Latn",
            "test flores200/devtest/{lang}.devtest deu_Latn",
        ],
    ),
    "ntrex and flores": (
        {
            **{"de.tsv": table("en", "de"), "newstest2019-src.eng.txt": lines("en")},
            **{f"newstest2019-ref.{code}.txt": lines(code[:2]) for code in ("deu", "fra")},
            **{f"flores.{code}": lines(code) for code in ("en", "de", "fr")},
        },
        ["train {lang}.tsv de", "valid newstest2019-*.{lang}.txt de", "test flores.{lang} de"],
    ),
    "the same lines in several languages": (
        {"de.tsv": table("en", "de", count=80), "fr.tsv": table("en", "fr", count=80)}
        | {f"set.{code}": lines(code) for code in ("en", "de", "fr")},
        ["train {lang}.tsv de,fr", "test set.{lang} de,fr"],
    ),
    "the same lines in several languages and nothing else": (
        {f"europarl.{code}": lines(code) for code in ("en", "de", "fr")},
        ["train europarl.{lang} de,fr"],
    ),
    "an archive of OPUS": (
        {
            "Books/de-en.txt.zip": {
                **{f"Books.de-en.{code}": text for code, text in GERMAN.items()},
                "README": "about the corpus\n",
            },
            "Books/en-fr.txt.zip": {f"Books.en-fr.{code}": lines(code) for code in ("en", "fr")},
        },
        ["train Books/{src}-{tgt}.txt.zip!Books.{src}-{tgt}.{lang} de,fr"],
    ),
    "a table in an archive": (
        {"dump.zip": {"data/de.tsv": table("en", "de"), "data/fr.tsv": table("en", "fr")}},
        ["train dump.zip!data/{lang}.tsv de,fr"],
    ),
    "a translation memory": ({"books.tmx": memory(en_GB="en", de_DE="de", fr="fr")}, ["train books.tmx de,fr"]),
    "json lines by codes": ({"x.jsonl": json_lines(en="en", de="de")}, ["train x.jsonl de"]),
    "json lines of a direction": (
        {"x.de-en.jsonl": json_lines(source="de", target="en")},
        ["train x.{src}-{tgt}.jsonl de"],
    ),
    "json lines without codes": ({"x.jsonl": json_lines(source="en", target="fr")}, ["train x.jsonl fr"]),
    "catalogs": (
        {
            f"{code}/LC_MESSAGES/app.po": 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
            + "".join(f'msgid "{a}"\nmsgstr "{b}"\n\n' for a, b in zip(sentences("en"), sentences(code), strict=True))
            for code in ("de", "fr")
        },
        ["train {lang}/LC_MESSAGES/app.po de,fr"],
    ),
    "a small language": (
        {"corpus.de-hsb.de": lines("de"), "corpus.de-hsb.hsb": lines("xx")},
        ["train corpus.{src}-{tgt}.{lang} hsb"],
    ),
    "three kinds": (
        {
            "talks.de.tsv": table("en", "de"),
            **{f"nl/corpus.{code}": lines(code) for code in ("en", "nl")},
            **{f"fr/{code}.train": lines(code[:2]) for code in ("eng_Latn", "fra_Latn")},
        },
        ["train fr/{lang}.train fr", "train nl/corpus.{lang} nl", "train talks.{lang}.tsv de"],
    ),
}


def show(found: Discovery, folder: Path) -> list[str]:
    """Return the corpora in short: part, path below the folder, languages, columns."""
    shown = []
    for corpus in found.corpora:
        columns = f" {corpus.corpus.columns}" if corpus.corpus.columns else ""
        path = corpus.corpus.path.removeprefix(f"{folder}/")
        shown.append(f"{corpus.part} {path} {','.join(sorted(corpus.sizes))}{columns}")
    return shown


def list_pairs(found: Discovery) -> Iterator[tuple[Corpus, str, int]]:
    for corpus in found.corpora:
        for language, size in corpus.sizes.items():
            yield corpus.corpus, language, size


@pytest.mark.parametrize("layout", LAYOUTS)
def test_corpora_are_found_in_every_layout(layout: str, tmp_path: Path) -> None:
    files, expected = LAYOUTS[layout]
    found = discover([write(tmp_path, files)])
    assert sorted(show(found, tmp_path)) == sorted(expected)

    # What the corpora hold is what a run will read from them.
    for one, language, size in list_pairs(found):
        read = list(read_pairs(one.path, found.pivot, language, format=one.format, columns=one.columns))
        assert len(read) == size
        own = {"deu_Latn": "de", "fra_Latn": "fr"}.get(language, language)
        side = sentences("de" if found.pivot == "de" else "en", len(read))
        assert sorted((pair.source, pair.target) for pair in read) == sorted(
            zip(side, sentences(own, len(read)), strict=True)
        )


def test_files_may_be_named_one_by_one_and_by_templates(tmp_path: Path) -> None:
    write(tmp_path, {"a/de.tsv": table("en", "de"), "a/fr.tsv": table("en", "fr"), "b.en": lines("en")})
    write(tmp_path, {"b.nl": lines("nl"), "b.de": lines("de")})
    one_by_one = discover([tmp_path / "a" / "de.tsv", tmp_path / "b.en", tmp_path / "b.nl"])
    assert show(one_by_one, tmp_path) == ["train a/{lang}.tsv de", "train b.{lang} nl"]
    by_template = discover([f"{tmp_path}/a/{{lang}}.tsv"])
    assert show(by_template, tmp_path) == ["train a/{lang}.tsv de,fr"]
    with pytest.raises(NeuronspecError, match=r"no file fits .*/c/\{lang\}\.tsv"):
        discover([f"{tmp_path}/c/{{lang}}.tsv"])


def test_one_spelling_is_chosen_for_the_whole_run(tmp_path: Path) -> None:
    write(tmp_path, {"de.tsv": table("en", "de"), "eng_Latn.train": lines("en"), "fra_Latn.train": lines("fr")})
    write(tmp_path, {"nl/x.nl": lines("nl"), "nl/x.en": lines("en")})
    found = discover([tmp_path])
    assert (found.pivot, found.languages) == ("en", ("de", "fr", "nl"))
    [spelled] = [corpus for corpus in found.corpora if corpus.spellings]
    assert spelled.spellings == {"en": "eng_Latn", "fr": "fra_Latn"}
    asked = discover([tmp_path], languages=["deu", "fra"], pivot="eng")
    assert (asked.pivot, asked.languages) == ("eng", ("deu", "fra"))
    assert "not in this run" in asked.notes[-1]


def test_codes_that_no_style_has_stay_as_files_write_them(tmp_path: Path) -> None:
    write(tmp_path, {f"{code}.tsv": table("en", "de") for code in ("no", "sr_Latn", "deu")})
    assert discover([tmp_path]).languages == ("de", "no", "sr_Latn")


def test_two_scripts_of_a_language_stay_apart(tmp_path: Path) -> None:
    write(
        tmp_path, {f"{code}.train": lines("fr") for code in ("zho_Hans", "zho_Hant")} | {"eng_Latn.train": lines("en")}
    )
    write(tmp_path, {"de.tsv": table("en", "de"), "fr.tsv": table("en", "fr"), "nl.tsv": table("en", "nl")})
    found = discover([tmp_path])
    assert found.languages == ("de", "fr", "nl", "zh-Hant", "zho_Hans")


def test_the_pivot_is_the_language_of_most_texts_where_there_is_no_english(tmp_path: Path) -> None:
    write(tmp_path, {f"{pair}/x.{code}": lines(code) for pair in ("de-fr", "de-nl") for code in pair.split("-")})
    found = discover([tmp_path])
    assert (found.pivot, found.languages) == ("de", ("fr", "nl"))
    assert found.count_pairs("train") == {"de-fr": 40, "de-nl": 40}


def test_corpora_that_lack_a_language_name_those_that_they_hold(tmp_path: Path) -> None:
    write(tmp_path, {"de.tsv": table("en", "de"), "x.en": lines("en"), "x.nl": lines("nl")})
    found = discover([tmp_path])
    assert [corpus.languages for corpus in found.list_corpora("train")] == [["nl"], ["de"]]
    assert found.count_pairs("train") == {"en-de": 40, "en-nl": 40}
    assert found.count_pairs("test") == {"en-de": 0, "en-nl": 0}


# Files next to a table that is found, and what is reported about them
LEFT_OUT: dict[str, tuple[Files, str]] = {
    "a .csv table": ({"notes.csv": "a,b\n"}, "notes.csv: a .csv table: save it as text separated by TABs"),
    "a text alone": ({"README": "words\n"}, "README: no table of two texts, and no other file whose name differs"),
    "files of two lengths": (
        {"x.en": lines("en", 9), "x.nl": lines("nl", 8)},
        r"x.{lang}: its files are not aligned line by line \(.*x.en: 9 lines, .*x.nl: 8 lines\)",
    ),
    "numbers": ({"ids.de-en.tsv": "1\t2\n" * 30}, "ids.de-en.tsv: a table with 0 columns of text"),
    "another encoding": ({"x.nl": "ok\n", "x.fr": "caf\udce9\n"}, "x.fr:1 is not UTF-8"),
    "an empty file": ({"empty.fr.tsv": ""}, "empty.fr.tsv: it is empty"),
    "no pivot": (
        {"y.fr-nl.fr": lines("fr"), "y.fr-nl.nl": lines("nl")},
        r"text in fr and nl without en; to train it, write tasks: \[fr-nl\]",
    ),
    "no archive": ({"x.zip": "no archive"}, "x.zip: .*is not a sound zip archive"),
    "unclear languages": ({"x.tsv": table("en", "en")}, "x.tsv: a table whose languages are not clear"),
    "fields without languages": ({"x.jsonl": json_lines(a="en", b="de")}, "JSON lines with the fields a, b; expected"),
    "a field in another language": (
        {"x.en-de.jsonl": json_lines(source="de", target="en")},
        "its field source is de, not en as in its name",
    ),
    "braces in a name": ({"{x}.fr-en.tsv": table("fr", "en")}, r"unknown placeholder \{x\}.*; rename it"),
    "a placeholder in a name": ({"{lang}.fr-en.tsv": table("fr", "en")}, "braces in its name would be read"),
    "carriage returns alone": ({"x.fr-en.tsv": table("fr", "en").replace("\n", "\r")}, "a carriage return alone"),
    "a hub dataset": ({"hub/state.json": "{}"}, "hub: a dataset, whose languages cannot be seen from here"),
    "a run": ({"runs/x/stages/config.yaml": "a: 1\n"}, "x: the directory of a run"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_is_not_used_is_listed_with_the_reason(case: str, tmp_path: Path) -> None:
    files, expected = LEFT_OUT[case]
    for name, content in files.items():
        if isinstance(content, str) and "\udce9" in content:
            (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
        else:
            write(tmp_path, {name: content})
    write(tmp_path, {"de.tsv": table("en", "de")})
    found = discover([tmp_path])
    assert show(found, tmp_path) == ["train {lang}.tsv de"]
    reported = "\n".join(f"{one.path}: {one.reason}" for one in found.left_out)
    assert_matches(expected, reported)
    named = {path for path in files if any(path.split("/")[0].split(".")[0] in one.path for one in found.left_out)}
    assert named == {*files}


def test_a_name_that_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"de.tsv": table("en", "de"), "a\udcff.fr-en.tsv": table("fr", "en")})
    found = discover([tmp_path])
    assert show(found, tmp_path) == ["train {lang}.tsv de"]
    [left_out] = found.left_out
    assert left_out.reason == "its name is not UTF-8, so that no configuration can name it; rename it"
    write(tmp_path / "folder\udcff", {"nl.tsv": table("en", "nl")})
    with pytest.raises(NeuronspecError, match="its name is not UTF-8"):
        discover([tmp_path / "folder\udcff"])


def assert_matches(pattern: str, text: str) -> None:
    with pytest.raises(AssertionError, match=pattern):
        raise AssertionError(text)


def test_nothing_at_all_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path, {"notes.csv": "a,b\n"})
    with pytest.raises(
        NeuronspecError, match=r"no parallel text was found in .*notes\.csv: a \.csv table.*expected tables"
    ):
        discover([tmp_path])
    with pytest.raises(NeuronspecError, match="nowhere does not exist"):
        discover([tmp_path / "nowhere"])


@pytest.mark.parametrize("name", ["{lang}", "{src}", "{foo}"])
def test_a_single_file_that_cannot_be_used_is_one_sentence_with_the_reason(name: str, tmp_path: Path) -> None:
    write(tmp_path, {f"{name}.de-en.tsv": table("de", "en")})
    with pytest.raises(NeuronspecError, match=r"no parallel text was found in .* placeholder.*; rename it"):
        discover([tmp_path])


def test_a_language_or_a_pivot_without_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"de.tsv": table("en", "de")})
    with pytest.raises(NeuronspecError, match="no text in nl was found, only in de"):
        discover([tmp_path], languages=["nl"])
    with pytest.raises(NeuronspecError, match="no text in the pivot fr was found, only in de, en"):
        discover([tmp_path], pivot="fr")


def test_assumptions_are_stated(tmp_path: Path) -> None:
    write(tmp_path, {"corpus.tsv": table("de", "en"), "more.en-de.tsv": table("de", "en")})
    write(tmp_path, {f"set.{code}": lines(code) for code in ("en", "de", "fr")})
    assert sorted(itertools.chain(discover([tmp_path]).notes)) == [
        "corpus.tsv: German in column 1 and English in column 2, recognized from the text",
        "more.en-de.tsv: column 2 reads like English, whatever the file's name",
        "not in this run, since they have no training text or were not asked for: fr",
        "set.{lang}: the same 40 lines in 3 languages, so taken for test",
    ]


def test_a_line_of_titles_is_no_pair_of_sentences(tmp_path: Path) -> None:
    write(tmp_path, {"de.tsv": table("en", "de", header=["source", "target"]), "fr.tsv": table("en", "fr")})
    counts = discover([tmp_path]).count_pairs("train")
    assert counts["en-de"] == counts["en-fr"]


def test_a_folder_that_links_to_itself_is_visited_once(tmp_path: Path) -> None:
    write(tmp_path / "text", {"de.tsv": table("en", "de")})
    (tmp_path / "text" / "again").symlink_to(tmp_path / "text", target_is_directory=True)
    (tmp_path / "text" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "linked").symlink_to(tmp_path / "text", target_is_directory=True)
    assert [found.corpus.path for found in discover([tmp_path / "text"]).corpora] == [f"{tmp_path}/text/{{lang}}.tsv"]
    assert len(discover([tmp_path / "linked"]).corpora) == 1  # a link that is named, or leads elsewhere, is followed
