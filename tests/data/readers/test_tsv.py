import gzip
import lzma
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.reading import texts

from neuronspec.data.corpora import read_pairs
from neuronspec.data.corpus_formats import Pair
from neuronspec.errors import NeuronspecError

ENGLISH = ["The bridge was closed.", "The mill stands by the river.", "42", "It rained.", "Nobody came."]
GERMAN = ["Die Brücke war gesperrt.", "Die Mühle steht am Fluss.", "42", "Es regnete.", "Niemand kam."]
PAIRS = list(zip(ENGLISH, GERMAN, strict=True))


def write_table(path: Path, rows: Sequence[Sequence[object]], header: Sequence[str] | None = None) -> None:
    lines = ["\t".join(map(str, row)) for row in ([header] if header else []) + list(rows)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read(path: Path | str, source: str, target: str, columns: list[int | str] | None = None) -> list[tuple[str, str]]:
    return [(pair.source, pair.target) for pair in read_pairs(str(path), source, target, columns=columns)]


def turn(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(target, source) for source, target in pairs]


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ([(1.25 - n / 9, *pair) for n, pair in enumerate(PAIRS)], [2, 3]),  # WikiMatrix, CCMatrix
        ([(1000 + n, a, 2000 + n, b) for n, (a, b) in enumerate(PAIRS)], [2, 4]),  # Tatoeba
        ([(f"http://a.org/{n}", f"http://b.org/{n}", *pair, 0.9) for n, pair in enumerate(PAIRS)], [3, 4]),  # ParaCrawl
        ([(f"OpenSubtitles/{n:08x}", *pair) for n, pair in enumerate(PAIRS * 3)], [2, 3]),
        ([("eng", "deu", *pair) for pair in PAIRS * 3], [3, 4]),  # the Tatoeba Challenge
        ([(f"{n}:30", f"2024-01-0{n}", *pair) for n, pair in enumerate(PAIRS)], [3, 4]),
        ([(f"{n}e-05", *pair) for n, pair in enumerate(PAIRS)], [2, 3]),
        ([("1,25", *pair) for pair in PAIRS], [2, 3]),
        ([("१२", *pair) for pair in PAIRS], [2, 3]),
        ([(n if n != 2 else "n/a", *pair) for n, pair in enumerate(PAIRS)], [2, 3]),
        ([(0.5, *PAIRS[0])], [2, 3]),
    ],
)
def test_columns_that_hold_no_text_are_refused_until_the_texts_are_named(
    tmp_path: Path, rows: list[tuple[object, ...]], columns: list[int | str]
) -> None:
    path = tmp_path / "corpus.en-de.tsv"
    write_table(path, rows)
    template = f"{tmp_path}/corpus.{{src}}-{{tgt}}.tsv"
    named = f"{columns[0]}, {columns[1]}"
    with pytest.raises(NeuronspecError, match=rf"column 1 of \S*tsv holds .*, not text; .*columns: \[{named}\]"):
        read(template, "en", "de")
    expected = [(str(row[int(columns[0]) - 1]), str(row[int(columns[1]) - 1])) for row in rows]
    assert read(template, "en", "de", columns) == expected
    assert read(template, "de", "en", columns) == turn(expected)
    assert read(template, "en", "de", columns[::-1]) == turn(expected)


def test_scores_below_titles_are_scores(tmp_path: Path) -> None:
    write_table(tmp_path / "de.tsv", [(n, *pair) for n, pair in enumerate(PAIRS)], ["score", "en", "de"])
    with pytest.raises(NeuronspecError, match=r"column 1 of \S*de\.tsv holds numbers \('0'\)"):
        read(f"{tmp_path}/{{lang}}.tsv", "en", "de")


def test_scores_of_a_large_file_may_have_gaps_and_a_remark(tmp_path: Path) -> None:
    scores = ["", "nan", "-", "see below", *range(60)]
    write_table(tmp_path / "de.tsv", [(score, *PAIRS[0]) for score in scores])
    with pytest.raises(NeuronspecError, match="holds numbers"):
        read(f"{tmp_path}/{{lang}}.tsv", "en", "de")


def test_a_second_column_of_numbers_is_refused_too(tmp_path: Path) -> None:
    write_table(tmp_path / "de.tsv", [(a, 0.5, b) for a, b in PAIRS])
    with pytest.raises(NeuronspecError, match=r"column 2 of .*columns: \[1, 3\], or --columns '1, 3'"):
        read(f"{tmp_path}/{{lang}}.tsv", "en", "de")
    with pytest.raises(NeuronspecError, match=r"column 2 of .* holds numbers"):
        read(f"{tmp_path}/{{lang}}.tsv", "en", "de", [1, 2])


def test_a_table_without_two_texts_says_so(tmp_path: Path) -> None:
    write_table(tmp_path / "de.tsv", [(n, text) for n, text in enumerate(GERMAN)])
    with pytest.raises(NeuronspecError, match=r"column 1 of .* holds numbers .*of its 2 columns 1 may be text"):
        read(f"{tmp_path}/{{lang}}.tsv", "en", "de")


def test_text_with_some_numbers_is_text(tmp_path: Path) -> None:
    rows = [("2024", "2024"), ("3 %", "3 %"), ("Room 12", "Zimmer 12"), *PAIRS]
    write_table(tmp_path / "de.tsv", rows)
    assert read(f"{tmp_path}/{{lang}}.tsv", "en", "de") == rows


def test_further_columns_do_not_matter(tmp_path: Path) -> None:
    write_table(tmp_path / "de.tsv", [(*pair, 7, "CC-BY", "") for pair in PAIRS])
    assert read(f"{tmp_path}/{{lang}}.tsv", "de", "en") == turn(PAIRS)


def test_columns_are_named_by_the_first_line(tmp_path: Path) -> None:
    write_table(tmp_path / "all.tsv", [(n, *pair) for n, pair in enumerate(PAIRS)], ["id", "english", "de"])
    assert read(tmp_path / "all.tsv", "en", "de", ["english", "de"]) == PAIRS
    assert read(tmp_path / "all.tsv", "de", "en", ["{src}", "english"]) == turn(PAIRS)
    write_table(tmp_path / "de.tsv", PAIRS, ["english", "text_de"])
    assert read(f"{tmp_path}/{{lang}}.tsv", "en", "de", ["english", "text_{lang}"]) == PAIRS
    assert read(f"{tmp_path}/{{lang}}.tsv", "de", "en", ["english", "text_{lang}"]) == turn(PAIRS)


def test_one_table_may_hold_many_languages_by_name(tmp_path: Path) -> None:
    rows = [(a, b, f"{b} auf Schwedisch") for a, b in PAIRS]
    write_table(tmp_path / "all.tsv", rows, ["eng_Latn", "deu_Latn", "swe_Latn"])
    columns: list[int | str] = ["{src}", "{tgt}"]
    assert read(tmp_path / "all.tsv", "deu_Latn", "eng_Latn", columns) == turn(PAIRS)
    assert read(tmp_path / "all.tsv", "swe_Latn", "deu_Latn", columns) == [(c, b) for _, b, c in rows]
    with pytest.raises(NeuronspecError, match=r"no column 'swe_Latin' \(did you mean .*first line is 'eng_Latn', "):
        read(tmp_path / "all.tsv", "eng_Latn", "swe_Latin", columns)


def test_a_name_that_two_columns_have_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "all.tsv", PAIRS, ["text", "text"])
    with pytest.raises(NeuronspecError, match=r"several columns 'text'"):
        read(tmp_path / "all.tsv", "en", "de", ["text", "other"])


def test_a_line_with_too_few_columns_is_refused_by_number(tmp_path: Path) -> None:
    write_table(tmp_path / "de.tsv", [(1, *PAIRS[0]), (2, "alone")])
    with pytest.raises(NeuronspecError, match=r"de\.tsv:2 has 2 columns: .*expected at least 3"):
        read(f"{tmp_path}/{{lang}}.tsv", "en", "de", [2, 3])


def test_columns_make_a_table_of_a_file_with_any_other_name(tmp_path: Path) -> None:
    (tmp_path / "dump.txt.gz").write_bytes(gzip.compress("".join(f"1\t{a}\t2\t{b}\n" for a, b in PAIRS).encode()))
    assert read(tmp_path / "dump.txt.gz", "en", "de", [2, 4]) == PAIRS
    with pytest.raises(NeuronspecError, match=r"columns are for tables of TABs .* is read as jsonl"):
        read(tmp_path / "x.jsonl", "en", "de", [2, 4])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(rows=st.lists(st.lists(st.text("ab1 .-é", max_size=4), min_size=2, max_size=4), max_size=6))
def test_any_table_is_read_whole_or_refused(tmp_path: Path, rows: list[list[str]]) -> None:
    write_table(tmp_path / "de.tsv", rows)
    try:
        found = read(f"{tmp_path}/{{lang}}.tsv", "en", "de")
    except NeuronspecError as error:
        assert "not text" in str(error)  # noqa: PT017 - what else may be refused?
    else:
        assert found == [(row[0], row[1]) for row in rows]


@pytest.mark.parametrize("columns", [[0, 2], [2, 2], [-1, 2], [2], [1, 2, 3], ["", "de"]])
def test_columns_that_are_not_two_of_a_table_are_refused(tmp_path: Path, columns: list[int | str]) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text("1.05\tthe old\tdas alte\n", encoding="utf-8")
    with pytest.raises(NeuronspecError, match=r"cannot read the columns .*rows\.tsv: expected two columns"):
        read(path, "en", "de", columns)


@pytest.mark.parametrize("labels", [("deu", "eng"), ("multi30k", "tatoeba", "kde"), ("test", "train")])
def test_a_column_of_a_few_words_that_come_again_and_again_is_no_text(tmp_path: Path, labels: tuple[str, ...]) -> None:
    rows = [f"{number}\t{labels[number % len(labels)]}\tSentence {number}\n" for number in range(60)]
    (tmp_path / "de.tsv").write_text("".join(rows))
    with pytest.raises(NeuronspecError, match=r"column 2 of .* holds .* \('\w+'\), not text"):
        read(f"{tmp_path}/{{lang}}.tsv", "en", "de", [2, 3])


def test_sentences_without_spaces_and_words_that_come_a_few_times_are_text(tmp_path: Path) -> None:
    greetings = ["你好" if number % 3 else "打开" for number in range(60)]
    rows = [(number, f"{word}{number % 9}！", f"Good day, {number}") for number, word in enumerate(greetings)]
    write_table(tmp_path / "zh.tsv", rows)
    assert len(read(f"{tmp_path}/{{lang}}.tsv", "en", "zh", [3, 2])) == 60


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
