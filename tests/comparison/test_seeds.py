from __future__ import annotations

from statistics import fmean, stdev

import pytest
from scipy.stats import ttest_rel

from neuronspec.comparison.seeds import join_seed, split_seed, tabulate_seeds
from neuronspec.comparison.study import Study
from neuronspec.evaluation.results import Results, SystemScore

TUNED = {"fine_tune": (10.0, 20.0), "fine_tune.seed2": (11.0, 21.0), "fine_tune.seed3": (12.0, 19.0)}
OURS = {"ours": (10.5, 21.0), "ours.seed2": (11.25, 21.5), "ours.seed3": (13.0, 20.0), "alone": (1.0, 1.0)}


def make_study(scores: dict[str, tuple[float, float]]) -> Study:
    rows = [
        SystemScore(system, task, "BLEU", value, "", 10)
        for system, values in scores.items()
        for task, value in zip(("en-de", "de-en"), values, strict=True)
    ]
    return Study(Results(tuple(rows)), "pretrained", fine_tuned="fine_tune")


@pytest.mark.parametrize("name", ["fine_tune", "a.seedling", "x.seed12", "ours.enc.seed0"])
def test_a_name_and_its_seed_are_told_apart(name: str) -> None:
    assert join_seed(*split_seed(name)) == name


def test_means_and_differences_over_seeds() -> None:
    table = tabulate_seeds(make_study({"pretrained": (5.0, 5.0)} | TUNED | OURS), "BLEU")
    tuned, ours = (dict(zip(table.titles, row, strict=True)) for row in table.rows)
    assert (tuned["system"].value, ours["system"].value, ours["seeds"].value) == ("fine_tune", "ours", 3)
    own, others = [10.5, 11.25, 13.0], [10.0, 11.0, 12.0]
    assert ours["from en mean"].value == pytest.approx(fmean(own))
    assert ours["from en sd"].value == pytest.approx(stdev(own))
    assert ours["from en - fine_tune"].value == pytest.approx(fmean(own) - fmean(others))
    assert ours["from en p"].value == pytest.approx(float(ttest_rel(own, others).pvalue))
    assert tuned["from en - fine_tune"].value is None
    assert tuned["to en mean"].value == pytest.approx(20)


def test_without_fine_tuning_the_baseline_is_compared_with() -> None:
    table = tabulate_seeds(make_study({"pretrained": (5.0, 5.0)} | OURS), "BLEU")
    [row] = table.rows
    cell = dict(zip(table.titles, row, strict=True))["to en - pretrained"]
    assert cell.value == pytest.approx(fmean([21, 21.5, 20]) - 5)
    assert tabulate_seeds(make_study({"pretrained": (5.0, 5.0), "ours": (6.0, 6.0)}), "BLEU").rows == []
