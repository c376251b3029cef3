from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.patience import PATIENCE

from neuronspec.comparison.cells import Cell, CellTest
from neuronspec.comparison.tables import TABLE_FORMATS, ColumnTitle, Table
from neuronspec.errors import NeuronspecError

TABLE = Table(
    "Scores",
    ["system", "BLEU", "bytes"],
    [
        [Cell("a|b"), Cell(27.649, mark="↑"), Cell(1234567, 0)],
        [Cell("c"), Cell(-0.05, 2), Cell(None)],
    ],
    ["↑: better.", "Another note."],
)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (Cell(27.649), "27.6"),
        (Cell(27.65, 2, "↓"), "27.65↓"),
        (Cell(1234567, 0), "1,234,567"),
        (Cell(-3.0), "-3.0"),
        (Cell("text", 3), "text"),
        (Cell(None, mark="↑"), ""),
        (Cell(0.0), "0.0"),
        (Cell(-0.04), "0.0"),
        (Cell(1.24, signed=True), "+1.2"),
        (Cell(-0.3, signed=True, mark="↓"), "-0.3↓"),
        (Cell(0.04, signed=True), "0.0"),
        (Cell(-0.04, signed=True), "0.0"),
        (Cell(1234.5, 0, signed=True), "+1,234"),
        (Cell(math.nan, mark="↑"), ""),
        (Cell(-math.inf, signed=True), "-inf"),
        (Cell(301.2, text="5 min", mark="↑"), "5 min↑"),
        (Cell(None, text="-"), "-"),
    ],
)
def test_a_cell_shows_its_value_as_people_read_it(cell: Cell, shown: str) -> None:
    assert str(cell) == shown


def test_markdown_is_github_flavoured() -> None:
    assert TABLE.to_markdown().splitlines() == [
        "**Scores**",
        "",
        "| system | BLEU | bytes |",
        "|---|---:|---:|",
        "| a\\|b | 27.6↑ | 1,234,567 |",
        "| c | -0.05 |  |",
        "",
        "↑: better.",
        "",
        "Another note.",
    ]


def test_csv_holds_unrounded_values_and_a_column_for_marks_where_there_are_any() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.to_csv())))
    assert rows == [
        {"system": "a|b", "BLEU": "27.649", "BLEU mark": "↑", "bytes": "1234567"},
        {"system": "c", "BLEU": "-0.05", "BLEU mark": "", "bytes": ""},
    ]


def test_json_holds_unrounded_values() -> None:
    assert TABLE.to_json() == [
        {"system": "a|b", "BLEU": 27.649, "bytes": 1234567},
        {"system": "c", "BLEU": -0.05, "bytes": None},
    ]


def test_a_row_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Table("", ["a", "b"], [[Cell(1)]]).to_json()


def test_columns_of_text_are_aligned_left() -> None:
    assert [TABLE.is_text(column) for column in range(3)] == [True, False, False]
    assert not Table("", ["empty"], []).is_text(0)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\r\n\x00", codec="utf-8")),
            st.floats(allow_nan=False),
            st.sampled_from(["", "↑", "↓"]),
        ),
        max_size=6,
    )
)
def test_csv_and_markdown_keep_every_row(rows: list[tuple[str, float, str]]) -> None:
    table = Table("t", ["name", "value"], [[Cell(name), Cell(value, mark=mark)] for name, value, mark in rows])
    read = list(csv.reader(io.StringIO(table.to_csv(), newline="")))
    assert len(read) == len(rows) + 1
    assert [float(line[1]) for line in read[1:]] == [value for _, value, _ in rows]
    assert all(len(line) == len(read[0]) == (3 if any(mark for _, _, mark in rows) else 2) for line in read)


WIDE = Table(
    "Wide",
    ["system", ("high", "O2M"), ("high", "M2O"), ("all", "O2M"), "took"],
    [
        [Cell("base"), Cell(20.0), Cell(math.nan), Cell(30.25), Cell(90.5, text="1.5 min")],
        [Cell("ours"), Cell(-1.25, signed=True, shade=-1), Cell(None), Cell(0.5, signed=True, bold=True), Cell(None)],
        [Cell("base"), Cell(1.0), Cell(2.0, mark="↓"), Cell(3.0, shade=0.5, bold=True, mark="↑"), Cell(7.0)],
    ],
    ["BLEU: `a_b|c`."],
    {0: "From en", 2: "To en"},
)


def test_markdown_shows_sections_groups_and_the_best() -> None:
    assert WIDE.to_markdown().splitlines()[2:9] == [
        "| system | high O2M | high M2O | all O2M | took |",
        "|---|---:|---:|---:|---:|",
        "| **From en** |  |  |  |  |",
        "| base | 20.0 |  | 30.2 | 1.5 min |",
        "| ours | -1.2 |  | **+0.5** |  |",
        "| **To en** |  |  |  |  |",
        "| base | 1.0 | 2.0↓ | **3.0**↑ | 7.0 |",
    ]


def test_a_line_break_does_not_end_a_row_of_markdown() -> None:
    assert Table("t", ["a"], [[Cell("one\ntwo")]]).to_markdown().splitlines()[4] == "| one two |"


def test_data_formats_hold_the_section_of_every_row_and_raw_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(WIDE.to_csv())))
    assert [row["section"] for row in rows] == ["From en", "From en", "To en"]
    assert [row["high O2M"] for row in rows] == ["20.0", "-1.25", "1.0"]
    assert [row["high M2O"] for row in rows] == ["", "", "2.0"]
    assert [row["all O2M mark"] for row in rows] == ["", "", "↑"]
    assert [row["took"] for row in rows] == ["90.5", "", "7.0"]
    first = WIDE.to_json()[0]
    assert first == {
        "section": "From en",
        "system": "base",
        "high O2M": 20,
        "high M2O": None,
        "all O2M": 30.25,
        "took": 90.5,
    }


def test_json_is_strict_and_csv_tells_nothing_from_zero() -> None:
    table = Table("t", ["x"], [[Cell(math.nan)], [Cell(math.inf)], [Cell(0.0)]])
    assert json.loads(TABLE_FORMATS["json"].write(table), parse_constant=pytest.fail) == [
        {"x": None},
        {"x": None},
        {"x": 0},
    ]
    assert table.to_csv().splitlines()[1:] == ['""', "inf", "0.0"]


def test_columns_of_one_title_are_told_apart_in_data_formats() -> None:
    table = Table("t", ["a", "a", ("a", "b"), "a b"], [[Cell(float(n)) for n in range(4)]])
    assert table.to_json() == [{"a": 0.0, "a (2)": 1.0, "a b": 2.0, "a b (2)": 3.0}]
    assert table.to_csv().splitlines()[0] == "a,a (2),a b,a b (2)"


def test_rows_above_the_first_section_have_none() -> None:
    table = dataclasses.replace(WIDE, sections={1: "Rest", 3: "Empty"})
    assert [(name, len(rows)) for name, rows in table.blocks] == [("", 1), ("Rest", 2)]
    assert [row["section"] for row in table.to_json()] == ["", "Rest", "Rest"]


def test_latex_is_a_table_of_booktabs() -> None:
    assert WIDE.to_latex().splitlines() == [
        r"% needs \usepackage{booktabs} \usepackage[table]{xcolor}",
        r"\begin{table}",
        r"\centering",
        r"\small",
        r"\begin{tabular}{lrrrr}",
        r"\toprule",
        r" & \multicolumn{2}{c}{high} & \multicolumn{1}{c}{all} &  \\",
        r"\cmidrule(lr){2-3} \cmidrule(lr){4-4}",
        r"system & O2M & M2O & O2M & took \\",
        r"\midrule",
        r"\multicolumn{5}{l}{From en} \\",
        r"\midrule",
        r"base & 20.0 &  & 30.2 & 1.5 min \\",
        r"ours & \cellcolor{red!50}$-$1.2 &  & \textbf{+0.5} &  \\",
        r"\midrule",
        r"\multicolumn{5}{l}{To en} \\",
        r"\midrule",
        r"base & 1.0 & 2.0$^{\downarrow}$ & \cellcolor{blue!25}\textbf{3.0}$^{\uparrow}$ & 7.0 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\caption{Wide. \ensuremath{\uparrow} \ensuremath{\downarrow}: significantly better or worse.}",
        r"\label{tab:wide}",
        r"\begin{minipage}{\linewidth}\footnotesize",
        r"BLEU: \texttt{a\_b\textbar{}\allowbreak{}c}.",
        r"\end{minipage}",
        r"\end{table}",
    ]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a&b %$#_{}", r"a\&b \%\$\#\_\{\}"),
        ("~^\\", r"\textasciitilde{}\textasciicircum{}\textbackslash{}"),
        ("<x>", r"\textless{}x\textgreater{}"),
        ("Δθ ≥ 5", r"\ensuremath{\Delta}\ensuremath{\theta} \ensuremath{\geq} 5"),
        ("[1] *", "{[}1] {*}"),
        ("a---b", "a-{}-{}-b"),
        ("हिन्दी\u200d", "हिन्दी\u200d"),
        ("two\n\nlines\x00", "two lines"),
    ],
)
def test_latex_prints_text_as_it_is(text: str, written: str) -> None:
    table = Table("", ["x"], [[Cell(text)]])
    assert written + r" \\" in table.to_latex().splitlines()


def test_latex_says_what_fonts_it_needs_and_no_colours_where_there_are_none() -> None:
    plain, greek = (Table("", ["x"], [[Cell(text)]]).to_latex().splitlines()[0] for text in ("é Δ ↑", "हि"))
    assert plain == r"% needs \usepackage{booktabs}"
    assert greek.endswith("; XeLaTeX or LuaLaTeX with fonts for all its letters")


HOSTILE = st.text(st.sampled_from("ab -1&%$#_{}~^\\<>|[]*`'\"↑Δ\n\r\x00é")) | st.text(max_size=8)
CELLS = st.builds(
    Cell,
    st.none() | HOSTILE | st.floats(),
    st.integers(0, 3),
    HOSTILE,
    st.booleans(),
    st.booleans(),
    st.none() | st.floats(),
    st.none() | HOSTILE,
)
TABLES = st.builds(
    lambda title, groups, rows, notes, sections: Table(title, groups, rows, notes, sections),
    HOSTILE,
    st.tuples(HOSTILE, st.tuples(HOSTILE, HOSTILE), st.tuples(st.just("g"), HOSTILE)).map(list),
    st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=4),
    st.lists(HOSTILE, max_size=2),
    st.dictionaries(st.integers(0, 5), HOSTILE, max_size=2),
)


@settings(max_examples=60)
@given(TABLES)
def test_hostile_text_never_breaks_latex(table: Table) -> None:
    first, *lines = table.to_latex().splitlines()
    assert first.startswith("% needs ")
    bare = re.sub(r"\\[\\&%$#_{}]", "", "\n".join(lines))  # without what is escaped, and without \\\\
    assert not re.search(r"[%#~_]|\^(?!\{\\)", bare)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", bare):
        assert kind == "begin" or opened.pop() == name
        opened += [name] if kind == "begin" else []
    assert not opened
    # A number of 86 digits has a part of its own.
    for part in bare.split(r"\begin{tabular}")[1:]:
        width = len(part[1 : part.index("}")])
        body = part[part.index(r"\toprule") : part.index(r"\bottomrule")]
        starts = (rf"\multicolumn{{{width}}}", r"\midrule", r"\toprule", r"\cmidrule")
        assert {line.count("&") for line in body.splitlines() if not line.startswith(starts)} <= {width - 2, width - 1}


@settings(max_examples=30)
@given(TABLES)
def test_every_format_takes_every_table(table: Table) -> None:
    table = dataclasses.replace(table, notes=[])
    texts = {name: one.write(table) for name, one in TABLE_FORMATS.items()}
    assert len(json.loads(texts["json"], parse_constant=pytest.fail)) == len(table.rows)
    shown = texts["markdown"].split("\n|---|" if table.is_text(0) else "\n|---:|")[1]
    assert shown.count("\n|") == len(table.rows) + sum(bool(section) for section, _ in table.blocks)


@settings(max_examples=60)
@given(st.lists(st.floats(), min_size=1, max_size=6), st.booleans())
def test_numbers_come_back_from_csv_and_json_as_they_were(values: list[float], sectioned: bool) -> None:
    rows = [[Cell(value, 0, signed=True, bold=True, text="x")] for value in values]
    table = Table("t", [("a", "b")], rows, sections={0: "s"} if sectioned else {})
    read = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [float(row["a b"] or "nan") for row in read] == pytest.approx(values, abs=0, rel=0, nan_ok=True)
    finite = [value if math.isfinite(value) else None for value in values]
    assert [row["a b"] for row in json.loads(TABLE_FORMATS["json"].write(table))] == finite


def test_formats_are_found_by_name() -> None:
    assert {name: one.suffix for name, one in TABLE_FORMATS.items()} == {
        "markdown": ".md",
        "csv": ".csv",
        "latex": ".tex",
        "json": ".json",
    }
    assert all(one.write(WIDE).endswith("\n") for one in TABLE_FORMATS.values())
    with pytest.raises(NeuronspecError, match="did you mean 'latex'"):
        TABLE_FORMATS["latx"]


ENGINES = {"pdflatex": ["-draftmode", "-interaction=nonstopmode", "-halt-on-error"], "tectonic": []}


@pytest.mark.slow
def test_latex_compiles(tmp_path: Path) -> None:
    engine = next((name for name in ENGINES if shutil.which(name)), None)
    if engine is None:
        pytest.skip("there is no LaTeX here")
    hostile = "&%$#_{}~^\\<>|[]*`'\"-- ↑↓Δθ≥≤é"
    row = [Cell(hostile, bold=True, mark="x_y"), Cell(-1.0, shade=-0.5), Cell(2.0, bold=True, mark="↑", shade=1)]
    second = [Cell("[1]"), Cell(None, shade=1.0), Cell(math.nan)]
    table = Table(hostile, [hostile, (hostile, "[a]"), ("", "*")], [row, second], [f"`{hostile}"], {1: hostile})
    packages = r"\usepackage[T1]{fontenc}\usepackage[table]{xcolor}\usepackage{booktabs}\usepackage{graphicx}"
    text = [
        r"\documentclass{article}",
        packages,
        r"\begin{document}",
        WIDE.to_latex(),
        table.to_latex(),
        r"\end{document}",
    ]
    (tmp_path / "t.tex").write_text("\n".join(text), encoding="utf-8")
    done = subprocess.run(
        [engine, *ENGINES[engine], "t.tex"], cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


EXPLAINED = "↑ ↓: significantly better or worse than base."
P_VALUES = "p: the p-value after Holm's correction."
TEST = CellTest(-1.2, None, None, 0.01, 0.0301)


def make_tested(columns: int, rows: int = 2) -> Table:
    """Return a table of scores with p-values."""
    body = [[Cell(f"system {row}"), *[Cell(20.4, mark="↓", test=TEST)] * columns] for row in range(rows)]
    header: list[ColumnTitle] = ["system", *(("To", f"language {number}") for number in range(columns))]
    return Table("Scores", header, body, ["A remark.", EXPLAINED, P_VALUES], name="languages.chrf++")


def test_latex_has_a_label_and_a_caption_that_explains_marks_and_p_values() -> None:
    lines = make_tested(1).to_latex().splitlines()
    caption = lines[-6]
    assert caption.startswith(r"\caption{Scores. \ensuremath{\uparrow} \ensuremath{\downarrow}: significantly better")
    assert caption.endswith("p: the p-value after Holm's correction.}")
    assert lines[-5:] == [
        r"\label{tab:languages.chrf++}",
        r"\begin{minipage}{\linewidth}\footnotesize",
        "A remark.",
        r"\end{minipage}",
        r"\end{table}",
    ]


@pytest.mark.parametrize(
    ("title", "name", "label"),
    [
        ("Scores", "levels.chrf++", "tab:levels.chrf++"),
        ("BLEU by language: base, and differences to it", "", "tab:bleu-by-language"),
        ("a}b\\c%d_e ~ é", "", "tab:a-b-c-d-e"),
        ("訳文", "", "tab:fded9a62"),
    ],
)
def test_labels_are_safe_and_the_same_for_other_systems(title: str, name: str, label: str) -> None:
    assert rf"\label{{{label}}}" in Table(title, ["x"], [[Cell(1.0)]], name=name).to_latex().splitlines()


def test_a_latex_table_takes_one_column_where_it_fits_and_otherwise_both() -> None:
    environments = []
    for columns in (1, 4, 6):
        lines = make_tested(columns).to_latex().splitlines()
        assert len([line for line in lines if line.startswith(r"\begin{table")]) == 1
        environments.append(lines[1])
        assert ("graphicx" in lines[0]) == any(r"\resizebox" in line for line in lines)
    assert environments == [r"\begin{table}", r"\begin{table*}", r"\begin{table*}"]


def test_a_latex_table_that_is_larger_than_a_page_has_parts_with_the_names_of_the_rows() -> None:
    wide = make_tested(20).to_latex()
    parts = wide.split(r"\begin{table*}")[1:]
    assert len(parts) > 1
    for number, part in enumerate(parts, 1):
        assert rf"\caption{{Scores (part {number} of {len(parts)})." in part
        assert rf"\label{{tab:languages.chrf++{f'-{number}' if number > 1 else ''}}}" in part
        assert all(part.count(f"system {row} &") == 1 for row in range(2))
    stacked = [r"\shortstack[r]{language \\ " + f"{number}}}" for number in range(20)]
    assert all(wide.count(title) == 1 for title in stacked)

    rows = [[Cell(f"row {number}"), Cell(float(number))] for number in range(100)]
    long = Table("Long", ["x", "y"], rows, sections={0: "First", 60: "Second"}).to_latex()
    assert [line.partition(" &")[0] for line in long.splitlines() if line.startswith("row ")] == [
        f"row {number}" for number in range(100)
    ]
    sections = re.findall(r"\\multicolumn\{2\}\{l\}\{(\w+)\}", long)
    assert sections == ["First", "First", "Second", "Second"]


def test_no_number_is_a_zero_with_a_sign_or_an_arrow() -> None:
    values = [-0.04, 0.04, -0.0, 0.0, -1e-9, 0.00449]
    plain = [Cell(value, signed=True) for value in values]
    marked = [Cell(value, signed=True, mark="↓") for value in values]
    table = Table("t", ["a", "b"], [list(pair) for pair in zip(plain, marked, strict=True)])
    assert [str(cell) for cell in plain] == ["0.0"] * 6
    assert [str(cell) for cell in marked] == ["-0.04↓", "+0.04↓", "0.0↓", "0.0↓", "-0.000000001↓", "+0.004↓"]
    assert "-0.0 " not in table.to_markdown()
    assert "$-$0.0 " not in table.to_latex()
