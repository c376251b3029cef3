from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
from tests.analysis.planted import BARE, LANGUAGES, OPTIONS, measure_families, plant_nothing, select
from tests.report.test_findings import make_ablation

from neuronspec.analysis.measures import Measures, analyze
from neuronspec.comparison.cells import Cell
from neuronspec.comparison.tables import Table
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.report.neuron_tables import tabulate_measures


def column(table: Table, title: str) -> list[Cell]:
    return [row[table.titles.index(title)] for row in table.rows]


def values(table: Table, title: str) -> list[object]:
    return [cell.content for cell in column(table, title)]


def read(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.to_csv())))


def test_there_is_a_table_for_everything_that_was_measured() -> None:
    tables = tabulate_measures(measure_families(), {"encoder": make_ablation(("a", "b", "c"), 1, 0)})
    assert list(tables) == ["overlaps", "distances", "families", "firmness", "trends", "ablation"]
    for name in ("overlaps", "distances", "families", "firmness"):
        assert values(tables[name], "layer") == [*measure_families().layers]
        assert tables[name].sections == {0: "encoder (x to en)", 3: "decoder (en to x)"}
    assert values(tables["trends"], "stack") == ["encoder", "encoder", "decoder", "decoder"]
    for table in tables.values():
        assert all(len(row) == len(table.header) for row in table.rows)
        assert len(read(table)) == len(table.rows)


def test_the_numbers_are_those_of_the_measures() -> None:
    measures = measure_families()
    tables = tabulate_measures(measures)
    upper = np.triu_indices(15, k=1)
    for row, one in enumerate(measures.layers.values()):

        def at(name: str, title: str, row: int = row) -> object:
            return values(tables[name], title)[row]

        structure, found = one.structure, one.resampled
        assert found is not None
        assert structure.tree is not None
        assert structure.families is not None
        rows = [measures.masks.task_index(task) for task in one.compared.tasks]
        assert at("overlaps", "neurons") == 80
        assert at("overlaps", "off %") == pytest.approx(100 * np.mean(measures.masks.sparsity()[one.layer][rows]))
        assert at("overlaps", "IoU mean") == pytest.approx(one.pairs.mean())
        assert (at("overlaps", "IoU lowest"), at("overlaps", "IoU highest")) == (one.pairs.min(), one.pairs.max())
        assert at("overlaps", "chance mean IoU") == pytest.approx(one.chance.mean[upper].mean())
        assert at("overlaps", "lowest z over chance") == pytest.approx(one.chance.z(one.iou)[upper].min())
        assert at("distances", "script r") == structure.correlations["script"].r
        assert at("distances", "vocabulary, the others fixed r") == structure.partial["vocabulary"].r
        assert (at("families", "IoU within families"), at("families", "IoU across")) == (
            structure.within,
            structure.across,
        )
        assert at("families", "silhouette families") == structure.families.silhouette
        assert at("families", "tree families, adjusted Rand") == structure.rand
        assert at("firmness", "95 % interval mean width") == pytest.approx(
            (found.interval.high - found.interval.low)[upper].mean()
        )
        assert at("firmness", "two halves r of overlaps") == found.halves.correlation
    trends = [kind[stack] for stack in measures.stacks for kind in (measures.trends, measures.corrected)]
    assert values(tables["trends"], "per layer") == [trend.slope for trend in trends]
    assert values(tables["trends"], "p") == [trend.p_value for trend in trends]


def test_stars_are_of_p_values_corrected_over_the_layers_of_a_stack() -> None:
    measures = measure_families()
    cells = column(tabulate_measures(measures)["distances"], "family r")
    for start, layers in ((0, measures.stacks["encoder"]), (3, measures.stacks["decoder"])):
        p = np.array([one.structure.correlations["family"].p_value for one in layers])
        order = p.argsort()
        corrected = np.empty(len(p))
        corrected[order] = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
        assert [cell.mark for cell in cells[start : start + len(p)]] == [
            "*" if one <= 0.05 else "" for one in corrected
        ]
    assert {cell.mark for cell in cells} == {"*", ""}


@pytest.mark.parametrize("tasks", [["law"], ["law", "news"], ["de-en", "en-de"], list(LANGUAGES[:3])])
def test_what_was_not_measured_has_no_table_or_an_empty_cell(tasks: list[str]) -> None:
    counts = plant_nothing(tasks)
    tables = tabulate_measures(analyze(select(counts), counts, options=OPTIONS))
    languages = tasks[0] in ("de", "de-en")
    assert ("families" in tables) == languages
    assert "distances" in tables  # of the masks' sizes at least
    assert "firmness" in tables
    size = 1 if tasks[0] in ("de-en", "law") and "news" not in tasks else len(tasks)
    assert all((mean is None) == (size == 1) for mean in values(tables["overlaps"], "IoU mean"))
    assert all((width is None) == (size == 1) for width in values(tables["firmness"], "95 % interval mean width"))
    assert "firmness" not in tabulate_measures(analyze(select(counts), options=BARE))
    for table in tables.values():
        assert "nan" not in table.to_markdown() + table.to_csv() + table.to_latex()


def test_full_masks_have_no_z() -> None:
    masks = NeuronMasks.from_dict({one: {"decoder.0": [1] * 8} for one in ("de", "nl", "ru", "fi")})
    measures: Measures = analyze(masks, options=BARE)
    tables = tabulate_measures(measures)
    assert values(tables["overlaps"], "lowest z over chance") == [None]
    assert values(tables["overlaps"], "IoU lowest") == [1.0]
    assert values(tables["distances"], "family r") == [None]


def test_ablations_are_tabulated() -> None:
    ablation = make_ablation(("a", "b", "c", "d"), own=1, near=0.1)
    table = tabulate_measures(measure_families(), {"encoder": ablation})["ablation"]
    (row,) = table.to_json()
    test = ablation.test()
    found = [row[f"worse without {name}"] for name in ("own", "others'", "random")]
    assert found == pytest.approx([np.diagonal(ablation.changes).mean(), test.others, ablation.random_changes.mean()])
    assert row["own is worst"] == 4
    assert not math.isnan(row["p own > random"])
    assert "5 % of the neurons off" in table.notes[0]
