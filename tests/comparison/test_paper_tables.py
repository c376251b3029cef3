from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

import pytest

from neuronspec.comparison.all_tables import tabulate_all
from neuronspec.comparison.cells import Cell
from neuronspec.comparison.cost_table import tabulate_efficiency
from neuronspec.comparison.detail_tables import tabulate_directions, tabulate_outcomes
from neuronspec.comparison.paper_tables import (
    tabulate_interference,
    tabulate_languages,
    tabulate_levels,
    tabulate_models,
    tabulate_thresholds,
    tabulate_zero_shot,
)
from neuronspec.comparison.quality_table import tabulate_quality
from neuronspec.comparison.study import Cost, Study, compare_study, make_study
from neuronspec.comparison.tables import TABLE_FORMATS, Table
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.results import Results, SystemQuality, SystemScore, merge_results
from neuronspec.evaluation.scoring import score_task

Numbers = Mapping[str, Mapping[str, float]]  # by system and task

# The paper's Table 1, as printed: the baseline's scores, and differences to them.
LANGUAGES = ["fa", "pl", "ar", "he", "nl", "de", "it", "es"]
FROM_ENGLISH = {
    "mT-small": [14.5, 9.9, 12.0, 13.1, 17.0, 20.6, 17.3, 18.3],
    "Fine-Tune": [0.1, -0.2, 0.2, 0.4, -0.4, -0.1, -0.3, -0.5],
    "Adapter": [0.1, -0.1, 0.4, 1.4, 0.2, 0.6, 0.1, 0.4],
    "Param-Diff": [-0.8, 0.0, 1.0, 1.1, 0.2, 0.9, 0.4, 0.7],
    "Ours": [0.7, 0.1, 0.9, 0.6, 0.1, 0.1, 0.2, -0.3],
}
TO_ENGLISH = {
    "mT-small": [10.0, 8.65, 11.1, 12.5, 11.4, 13.6, 10.7, 11.3],
    "Fine-Tune": [0.3, -0.2, 0.1, 0.8, 0.7, 0.3, -0.2, 0.0],
    "Adapter": [0.9, 0.6, 0.9, 1.0, 0.8, 1.0, 0.9, 0.3],
    "Param-Diff": [1.7, 1.3, 1.3, 1.9, 1.6, 2.2, 1.7, 1.3],
    "Ours": [1.6, 1.2, 1.7, 2.0, 1.9, 2.1, 1.8, 1.4],
}
COSTS = {"Adapter": Cost(127_000_000, 51_000_000), "Param-Diff": Cost(152, 76), "Ours": Cost(76)}


def make_results(numbers: Numbers, metric: str = "BLEU", zero_shot: Sequence[str] = ()) -> Results:
    return Results(
        tuple(
            SystemScore(system, task, metric, value, "tok:13a", 100, "", task in zero_shot)
            for system, scores in numbers.items()
            for task, value in scores.items()
        )
    )


def read_paper() -> Numbers:
    numbers: dict[str, dict[str, float]] = {}
    for system in FROM_ENGLISH:
        for name, table in (("en-{}", FROM_ENGLISH), ("{}-en", TO_ENGLISH)):
            base = [0.0] * 8 if system == "mT-small" else table["mT-small"]
            for language, one, other in zip(LANGUAGES, base, table[system], strict=True):
                numbers.setdefault(system, {})[name.format(language)] = one + other
    return numbers


def show(table: Table) -> list[list[str]]:
    return [[str(cell) for cell in row] for row in table.rows]


def read_bold(table: Table) -> list[str]:
    return [f"{row[0]}: {cell}" for row in table.rows for cell in row if cell.bold]


def test_the_papers_first_table_comes_out_as_printed() -> None:
    table = tabulate_languages(Study(make_results(read_paper()), "mT-small", costs=COSTS), "BLEU")
    assert table.titles == ["system", "Δθ", *LANGUAGES, "Avg"]
    assert table.sections == {0: "One-to-Many (en-X)", 5: "Many-to-One (X-en)"}
    assert show(table) == [
        # the paper's average is 15.4, of scores with more digits: those printed have the mean 15.34
        ["mT-small", "-", "14.5", "9.9", "12.0", "13.1", "17.0", "20.6", "17.3", "18.3", "15.3"],
        ["Fine-Tune", "", "+0.1", "-0.2", "+0.2", "+0.4", "-0.4", "-0.1", "-0.3", "-0.5", "-0.1"],
        ["Adapter", "+67%", "+0.1", "-0.1", "+0.4", "+1.4", "+0.2", "+0.6", "+0.1", "+0.4", "+0.4"],
        ["Param-Diff", "+100%", "-0.8", "0.0", "+1.0", "+1.1", "+0.2", "+0.9", "+0.4", "+0.7", "+0.4"],
        ["Ours", "0%", "+0.7", "+0.1", "+0.9", "+0.6", "+0.1", "+0.1", "+0.2", "-0.3", "+0.3"],
        ["mT-small", "-", "10.0", "8.7", "11.1", "12.5", "11.4", "13.6", "10.7", "11.3", "11.2"],
        ["Fine-Tune", "", "+0.3", "-0.2", "+0.1", "+0.8", "+0.7", "+0.3", "-0.2", "0.0", "+0.2"],
        ["Adapter", "+67%", "+0.9", "+0.6", "+0.9", "+1.0", "+0.8", "+1.0", "+0.9", "+0.3", "+0.8"],
        ["Param-Diff", "+100%", "+1.7", "+1.3", "+1.3", "+1.9", "+1.6", "+2.2", "+1.7", "+1.3", "+1.6"],
        ["Ours", "0%", "+1.6", "+1.2", "+1.7", "+2.0", "+1.9", "+2.1", "+1.8", "+1.4", "+1.7"],
    ]
    assert read_bold(table) == [
        *("Adapter: +1.4", "Adapter: +0.2", "Adapter: +0.4"),
        *("Param-Diff: +1.0", "Param-Diff: +0.2", "Param-Diff: +0.9", "Param-Diff: +0.4", "Param-Diff: +0.7"),
        *("Param-Diff: +0.4", "Ours: +0.7", "Ours: +0.1"),
        *("Param-Diff: +1.7", "Param-Diff: +1.3", "Param-Diff: +2.2"),
        *("Ours: +1.7", "Ours: +2.0", "Ours: +1.9", "Ours: +1.8", "Ours: +1.4", "Ours: +1.7"),
    ]
    assert table.notes == [
        "Bold: the best of a column. Differences and averages are of unrounded scores.",
        "Signatures: BLEU: `tok:13a`.",
    ]


GRID = {
    "base": {"en-de": 30.0, "en-lb": 10.0, "de-en": 32.0, "lb-en": 20.0, "de-lb": 4.0, "lb-de": 6.0},
    "ours": {"en-de": 31.0, "en-lb": 12.0, "de-en": 32.04, "lb-en": 19.0, "de-lb": 11.0, "lb-de": 5.0},
    "bilingual": {"en-de": 33.0, "en-lb": 2.0, "de-en": 34.0},
}
LEVELS = {"high": ["de"], "low": ["lb"]}


@pytest.fixture
def grid() -> Study:
    return Study(make_results(GRID, zero_shot=["de-lb", "lb-de"]), "base", levels=LEVELS, titles={"ours": "Ours"})


def test_levels_are_groups_of_columns(grid: Study) -> None:
    table = tabulate_levels(grid, "BLEU")
    assert table.header == [
        *("system", "Δθ"),
        *((level, side) for level in ("high", "low", "all") for side in ("O2M", "M2O", "Avg")),
    ]
    assert show(table) == [
        ["base", "-", "30.0", "32.0", "31.0", "10.0", "20.0", "15.0", "20.0", "26.0", "23.0"],
        ["Ours", "", "+1.0", "0.0", "+0.5", "+2.0", "-1.0", "+0.5", "+1.5", "-0.5", "+0.5"],
        ["bilingual", "", "+3.0", "+2.0", "+2.5", "-8.0", "", "", "-2.5", "", ""],
    ]
    assert [str(row[-1]) for row in table.rows if row[-1].bold] == ["+0.5"]


def test_without_levels_there_is_only_all() -> None:
    table = tabulate_levels(Study(make_results(GRID), "base"), "BLEU")
    assert table.titles[2:] == ["all O2M", "all M2O", "all Avg"]


def test_what_looks_the_same_is_bold_alike(grid: Study) -> None:
    scores = {name: {task: GRID[name][task] for task in ("en-de", "de-en")} for name in ("base", "ours")}
    table = tabulate_languages(Study(make_results(scores), "base"), "BLEU")
    assert read_bold(table) == ["ours: +1.0", "ours: +1.0", "base: 32.0", "base: 32.0", "ours: 0.0", "ours: 0.0"]


def test_the_lowest_error_rate_is_best() -> None:
    study = Study(make_results(GRID, "TER"), "base", levels=LEVELS)
    table = tabulate_levels(study, "TER")
    assert [row[0].value for row in table.rows for cell in row[2:3] if cell.bold] == ["base"]
    assert "TER: lower is better." in table.notes[0]
    shades = [cell.shade for cell in tabulate_interference(study, "TER", "bilingual").rows[1]]
    assert shades == [None, pytest.approx(0.3), -0.8, pytest.approx(0.3), -0.8]
    assert tabulate_thresholds(study, "TER").titles == ["system", "directions", "Num. ≤ 5", "Num. ≤ 10"]


def test_one_model_for_all_is_compared_with_bilingual_ones(grid: Study) -> None:
    table = tabulate_interference(grid, "BLEU", "bilingual")
    assert table.titles == ["system", "de", "lb", "high Avg", "low Avg"]
    assert show(table) == [
        ["bilingual", "33.0", "2.0", "33.0", "2.0"],
        ["base", "-3.0", "+8.0", "-3.0", "+8.0"],
        ["Ours", "-2.0", "+10.0", "-2.0", "+10.0"],
        ["bilingual", "34.0", "", "34.0", ""],
        ["base", "-2.0", "", "-2.0", ""],
        ["Ours", "-2.0", "", "-2.0", ""],
    ]
    assert [cell.shade for cell in table.rows[1][1:3]] == [pytest.approx(-0.3), pytest.approx(0.8)]
    assert all(cell.shade is None for cell in table.rows[0])
    assert not read_bold(table)
    assert r"\cellcolor{red!15}$-$3.0" in table.to_latex()
    with pytest.raises(NeuronspecError, match="did you mean 'bilingual'"):
        tabulate_interference(grid, "BLEU", "bilingal")


def test_languages_without_a_bilingual_model_or_a_level() -> None:
    numbers = {"two": {"en-de": 1.0, "en-tr": 2.0}, "many": {"en-de": 1.0, "en-tr": 42.0, "en-lb": 3.0}}
    table = tabulate_interference(Study(make_results(numbers), "many"), "BLEU", "two")
    assert (table.titles, show(table)[1]) == (["system", "de", "tr", "Avg"], ["many", "0.0", "+40.0", "+20.0"])
    assert [cell.shade for cell in table.rows[1][1:]] == [0, 1, 1]
    table = tabulate_interference(Study(make_results(numbers), "many", levels={"low": ["tr"]}), "BLEU", "two")
    assert table.titles == ["system", "tr", "de", "low Avg"]


def test_models_stand_side_by_side() -> None:
    big = make_results({"mT": {"en-de": 27.0, "de-en": 28.4}, "ns": {"en-de": 29.0, "de-en": 29.0}})
    deep = make_results({"base": {"en-de": 28.8, "de-en": 28.8}})
    studies = {
        "Big": Study(big, "mT", titles={"mT": "Baseline", "ns": "Ours"}),
        "Deep": Study(deep, "base", titles={"base": "Baseline"}),
    }
    table = tabulate_models(studies, ["BLEU", "chrF++"])
    assert table.header == ["system", *((m, s) for m in ("BLEU", "chrF++") for s in studies)]
    assert show(table) == [["Baseline", "27.7", "28.8", "", ""], ["Ours", "29.0", "", "", ""]]
    assert read_bold(table) == ["Ours: 29.0"]
    assert "from and to en." in table.notes[0]


def test_directions_without_the_pivot(grid: Study) -> None:
    table = tabulate_zero_shot(grid, "BLEU")
    assert table.header == ["system", ("high to", "low"), ("low to", "high"), "all"]
    assert show(table) == [["base", "4.0", "6.0", "5.0"], ["Ours", "+7.0", "-1.0", "+3.0"]]
    assert read_bold(table) == ["base: 6.0", "Ours: +7.0", "Ours: +3.0"]
    assert show(tabulate_thresholds(grid, "BLEU", (5, 6, 11))) == [
        ["base", "2", "1", "1", "0"],
        ["Ours", "2", "2", "1", "1"],
    ]


def test_costs_are_read_by_people_and_kept_as_numbers(grid: Study) -> None:
    costs = {
        "base": Cost(439_000_000, seconds=7_200),
        "ours": Cost(439_000_000, extra_bytes=380_000, seconds=43_200.0, search_seconds=301.2, updates=10_000),
        "bilingual": Cost(820_930_000, 381_930_000, 1_423_000_000, seconds=12.3),
    }
    table = tabulate_efficiency(dataclasses.replace(grid, costs=costs))
    assert show(table) == [
        ["base", "-", "0", "-", "0 B", "2 h", "", ""],
        ["Ours", "0%", "0", "5 min", "0.4 MB", "12 h", "10,000", ""],
        ["bilingual", "+87%", "381,930,000", "-", "1.4 GB", "12 s", "", ""],
    ]
    row = table.to_json()[1]
    assert (row["finding sub-networks"], row["extra memory"], row["training time"]) == (301.2, 380_000, 43_200)
    assert table.to_json()[2]["Δθ"] == pytest.approx(0.87)
    tuned = Results(tuple(dataclasses.replace(one, system="fine_tune") for one in grid.results.select("base").scores))
    times = {"fine_tune": Cost(1, seconds=10, target_tokens=500), "ours": Cost(1, seconds=5, target_tokens=200)}
    results = merge_results([grid.results, tuned])
    both = dataclasses.replace(grid, results=results, costs=times, fine_tuned="fine_tune")
    assert [row["training speed"] for row in tabulate_efficiency(both).to_json()] == [pytest.approx(0.8), 1]
    some = tabulate_efficiency(dataclasses.replace(grid, costs={"ours": Cost(61, -39)}))
    assert [str(cell) for cell in some.rows[0][:3]] == ["Ours", "-39%", "-39"]


REFERENCES = [
    f"the {colour} {animal} sees {number} old houses"
    for number, (colour, animal) in enumerate(
        [
            (colour, animal)
            for colour in ("red", "blue", "green", "grey")
            for animal in ("cat", "dog", "fox", "hen", "owl")
        ]
    )
]
SOURCES = [f"sentence {number} of the source text" for number in range(len(REFERENCES))]
WORSE = [text.replace("old", "young") for text in REFERENCES]
WORST = [text.replace("sees", "is seen by").replace("old houses", "towns") for text in REFERENCES]


@pytest.fixture(scope="module")
def compared() -> Study:
    """Toy translations: `good` is better than `base`, but worse on de-en and equal on nl-en."""
    outputs = {
        "base": {"en-de": WORSE, "en-nl": WORSE, "de-en": WORSE, "nl-en": WORSE, "de-nl": WORST},
        "good": {"en-de": REFERENCES, "en-nl": REFERENCES, "de-en": WORST, "nl-en": WORSE, "de-nl": WORSE},
        "half": {"en-de": REFERENCES},
    }
    metrics = [METRICS["bleu"], METRICS["ter"]]
    parts = [
        score_task(system, task, texts, REFERENCES, metrics, sources=SOURCES, zero_shot=task == "de-nl")
        for system, own in outputs.items()
        for task, texts in own.items()
    ]
    return compare_study(make_study(merge_results(parts), "base", trials=500))


def read_marks(table: Table, system: str) -> dict[str, str]:
    return {
        f"{section}: {title}": cell.mark
        for section, rows in table.blocks
        for row in rows
        for title, cell in zip(table.titles, row, strict=True)
        if row[0].value == system and title not in ("system", "Δθ")
    }


@pytest.mark.parametrize("metric", ["BLEU", "TER"])
def test_marks_stand_where_a_difference_is_significant(compared: Study, metric: str) -> None:
    table = tabulate_languages(compared, metric)
    assert read_marks(table, "good") == {
        "One-to-Many (en-X): de": "↑",
        "One-to-Many (en-X): nl": "↑",
        "One-to-Many (en-X): Avg": "↑",
        "Many-to-One (X-en): de": "↓",
        "Many-to-One (X-en): nl": "",
        "Many-to-One (X-en): Avg": "↓",
    }
    assert not any(read_marks(table, "base").values())
    for system in ("good", "half"):
        for row in tabulate_directions(compared).rows:
            task, name = str(row[0]), str(row[1])
            cell = row[2 + compared.results.systems.index(system)]
            one = compared.comparison(system, name, task)
            assert bool(cell.mark) == (one is not None and one.adjusted_p_value <= 0.05)
    assert table.notes[1] == (
        "↑ ↓: significantly better or worse than base (paired approximate randomization, 500 trials; p <= 0.05 after "
        "Holm's correction, over single directions or over groups of one kind)."
    )
    signature = METRICS[metric.lower()].signature("de")
    assert table.notes[2] == f"Signatures: {metric}: `{signature}`."


def test_every_table_marks_its_groups(compared: Study) -> None:
    assert read_marks(tabulate_levels(compared, "BLEU"), "good")[": high O2M"] == "↑"  # both are high in EC30
    assert read_marks(tabulate_zero_shot(compared, "BLEU"), "good") == {": high to high": "↑", ": all": "↑"}
    pair = compare_study(compared, [("half", "good")])
    assert read_marks(tabulate_interference(pair, "BLEU", "half"), "good")["One-to-Many (en-X): de"] == ""
    models = tabulate_models({"one": compared, "two": compared}, ["BLEU"])
    assert set(read_marks(models, "good").values()) == {compared.mark("good", "BLEU", "all")}


def test_a_system_without_some_directions_leaves_cells_empty(compared: Study) -> None:
    table = tabulate_languages(compared, "BLEU")
    half = [row for row in show(table) if row[0] == "half"]
    assert [[bool(text) for text in row[2:]] for row in half] == [[True, False, False]]  # nothing to English
    assert "nan" not in "".join(
        TABLE_FORMATS[name].write(one) for one in tabulate_all(compared).values() for name in TABLE_FORMATS
    )


def test_outcomes_say_how_many_got_worse(compared: Study) -> None:
    rows = {(row["system"], row["metric"], row["set"]): row for row in tabulate_outcomes(compared).to_json()}
    assert [name for system, metric, name in rows if (system, metric) == ("good", "BLEU")] == [
        *("from en", "to en", "zero-shot", "all"),
    ]
    for metric in ("BLEU", "TER"):
        found = list(rows["good", metric, "all"].values())
        assert found[3:9] == [5, 3, 1, 1, 3, 1]
        assert (found[10], found[12]) == ("de-en", "de-nl")
        assert (found[9] < 0 < found[11]) == (metric == "BLEU")
    assert rows["half", "BLEU", "all"]["directions"] == 1
    assert ("half", "BLEU", "to en") not in rows


def test_outcomes_are_corrected_within_their_set(compared: Study) -> None:
    weak = [dataclasses.replace(one, p_value=0.02, adjusted_p_value=0.1) for one in compared.comparisons]
    found = tabulate_outcomes(dataclasses.replace(compared, comparisons=weak)).to_json()
    significant = {row["set"]: row["significantly better"] for row in found if row["system"] == "good"}
    assert significant == {"from en": 2, "to en": 0, "zero-shot": 1, "all": 0}


def test_broken_translations_are_weighted_by_sentences(grid: Study) -> None:
    qualities = (
        SystemQuality("base", "en-de", 100, 50, 0.1, 0.02, 0.01, 0.0, 0.0, 0.2),
        SystemQuality("base", "en-lb", 300, 0, None, None, 0.05, 0.0, 0.0, 0.0),
        SystemQuality("base", "de-en", 100, 150, 0.3, 0.06, 0.01, 0.0, 0.0, 0.2),
        SystemQuality("base", "de-lb", 10, 0, None, None, 0.0, 1.0, 0.0, 0.0),
    )
    study = dataclasses.replace(grid, results=dataclasses.replace(grid.results, qualities=qualities))
    table = tabulate_quality(study)
    assert table.sections == {0: "trained", 1: "zero-shot"}
    assert show(table) == [
        ["base", "25.0", "5.0", "200", "3.4", "0.0", "0.0", "8.0"],
        ["base", "", "", "0", "0.0", "100.0", "0.0", "0.0"],
    ]
    trained = dataclasses.replace(make_results(GRID), qualities=qualities[:1])
    assert not tabulate_quality(Study(trained, "base")).sections


def test_where_off_target_cannot_be_told_the_table_says_so_with_the_rate_of_the_references(grid: Study) -> None:
    called, short = "py3langid calls 97 % of the references another language, too", "no hypothesis is long enough"
    qualities = (
        SystemQuality("base", "en-de", 100, 50, 0.1, 0.02, 0.0, 0.0, 0.0, 0.0),
        SystemQuality("base", "en-lb", 100, 80, None, 0.97, 0.0, 0.0, 0.0, 0.0, called),
        SystemQuality("ours", "en-lb", 100, 80, None, 0.97, 0.0, 0.0, 0.0, 0.0, called),
        SystemQuality("bilingual", "en-de", 100, 0, None, None, 0.0, 0.0, 0.0, 0.0, short),
    )
    table = tabulate_quality(dataclasses.replace(grid, results=dataclasses.replace(grid.results, qualities=qualities)))
    assert [[row[0], *row[1:4], row[8]] for row in show(table)] == [
        ["base", "10.0", "2.0", "50", "1 of 2"],
        ["Ours", "unknown", "97.0", "0", "1 of 1"],
        ["bilingual", "unknown", "", "0", "1 of 1"],
    ]
    assert [row["off-target % system"] for row in table.to_json()] == [pytest.approx(10), None, None]
    assert table.notes[1:] == [
        f"Off-target is unknown for en-lb: {called}.",
        f"Off-target is unknown for en-de: {short}.",
    ]


def test_many_directions_without_off_target_are_counted(grid: Study) -> None:
    names = [f"en-{code}" for code in ("de", "nl", "sv", "da", "af", "lb", "fr", "es")]
    qualities = tuple(SystemQuality("base", name, 9, 9, None, 1.0, 0.0, 0.0, 0.0, 0.0, "why") for name in names)
    table = tabulate_quality(dataclasses.replace(grid, results=dataclasses.replace(grid.results, qualities=qualities)))
    assert str(table.rows[0][8]) == "8 of 8"
    assert table.notes[1] == "Off-target is unknown for en-de, en-nl, en-sv, en-da, en-af, en-lb, 2 more: why."


def test_all_tables_that_the_data_allow(compared: Study, grid: Study) -> None:
    assert list(tabulate_all(compared)) == [
        *("languages.bleu", "languages.ter", "levels.bleu", "levels.ter", "zero_shot.bleu", "zero_shot.ter"),
        *("thresholds.bleu", "outcomes", "quality", "directions"),
    ]
    assert list(tabulate_all(grid)) == [
        "languages.bleu",
        "levels.bleu",
        "zero_shot.bleu",
        "thresholds.bleu",
        "directions",
    ]
    few = make_results({"base": {"en-de": 1.0}}, "chrF++")
    assert list(tabulate_all(Study(few, "base", costs={"base": Cost(1)}))) == [
        *("languages.chrf++", "levels.chrf++", "efficiency", "directions"),
    ]
    names = ["de", "nl", "sv", "da", "af", "lb", "fr", "es", "it", "pt", "ro", "oc", "ru", "bg", "cs", "pl", "uk"]
    many = make_results({"base": {f"en-{name}": 1.0 for name in names}})
    assert list(tabulate_all(Study(many, "base"))) == ["levels.bleu", "directions"]


def test_another_language_can_be_in_the_middle() -> None:
    numbers = {"base": {"fr-de": 1.0, "de-fr": 2.0, "de-nl": 3.0}}
    study = Study(make_results(numbers), "base", pivot="fr")
    tables = tabulate_all(study)
    assert list(tables["languages.bleu"].sections.values()) == ["One-to-Many (fr-X)", "Many-to-One (X-fr)"]
    assert show(tables["zero_shot.bleu"]) == [["base", "3.0"]]
    written = "".join(one.write(table) for table in tables.values() for one in TABLE_FORMATS.values())
    assert "en-" not in written.replace("en-us", "")


def test_a_baseline_without_a_direction_leaves_differences_empty() -> None:
    numbers = {"base": {"en-de": 1.0}, "ours": {"en-de": 2.0, "en-nl": 3.0}}
    study = Study(make_results(numbers), "base")
    assert show(tabulate_languages(study, "BLEU")) == [["base", "-", "1.0", "", ""], ["ours", "", "+1.0", "", ""]]
    assert show(tabulate_directions(study)) == [["en-de", "BLEU", "1.0", "2.0"], ["en-nl", "BLEU", "", "3.0"]]


def test_tables_are_the_same_in_every_format(compared: Study) -> None:
    for table in tabulate_all(compared).values():
        rows = json.loads(TABLE_FORMATS["json"].write(table))
        assert len(rows) == len(table.rows)
        lines = TABLE_FORMATS["latex"].write(table).splitlines()
        assert sum(line.endswith(r" \\") for line in lines) >= len(table.rows) + 1
        assert all(isinstance(cell, Cell) and len(row) == len(table.header) for row in table.rows for cell in row)
