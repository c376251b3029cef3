from __future__ import annotations

from pathlib import Path

import pytest

from neuronspec.comparison import differences
from neuronspec.comparison.differences import SystemComparison
from neuronspec.comparison.intervals import measure_intervals
from neuronspec.comparison.study import Study, compare_study, make_study
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.results import Results, merge_results
from neuronspec.evaluation.scoring import score_task
from neuronspec.executors import use_workers

TASKS = ["en-de", "en-lb", "de-en", "lb-en", "de-lb"]
GOOD = [f"the cat number {n} sat on the mat and slept" for n in range(20)]
WORSE = [line.replace("sat on", "stood beneath") for line in GOOD]


def make_results(systems: dict[str, list[str]], tasks: list[str] = TASKS, metric: str = "bleu") -> Results:
    return merge_results(
        score_task(system, task, lines, GOOD, [METRICS[metric]], zero_shot=task == "de-lb")
        for system, lines in systems.items()
        for task in tasks
    )


def study(results: Results, baseline: str = "base", pairs: list[tuple[str, str]] | None = None) -> Study:
    return compare_study(make_study(results, baseline, trials=200), pairs)


def test_r12_identical_systems_do_not_differ() -> None:
    found = study(make_results({"base": WORSE, "one": WORSE, "two": WORSE}))
    assert len(found.comparisons) > 10
    for one in found.comparisons:
        assert (one.difference, one.p_value, one.adjusted_p_value, one.interval) == (0, 1, 1, (0, 0))
        assert found.mark(one.system, one.metric, one.tasks) == ""


def test_a_better_system_is_found_and_p_values_are_corrected_within_their_family() -> None:
    results = make_results({"base": WORSE, "tuned": GOOD, "ours": WORSE})
    pairs = [("base", "tuned"), ("base", "ours"), ("tuned", "ours")]
    found = study(results, pairs=pairs)
    families = {"sides": 3, "levels": 9, "between": 2, "directions": 5}
    per_pair = [
        (family, (baseline, system)) for baseline, system in pairs for family, n in families.items() for _ in range(n)
    ]
    assert [(one.family, (one.baseline, one.system)) for one in found.comparisons] == per_pair
    gain = 100 - results.score("base", "BLEU", ["en-de"])
    for one in found.comparisons:
        sign = {("base", "tuned"): 1, ("tuned", "ours"): -1}.get((one.baseline, one.system), 0)
        assert one.difference == pytest.approx(sign * gain)
        if not sign:
            assert one.adjusted_p_value == 1
        else:
            # all p-values are the smallest there are: Holm multiplies them by the size of their family
            assert one.p_value == pytest.approx(1 / 201)
            assert one.adjusted_p_value == pytest.approx(families[one.family] / 201)
            assert found.mark(one.system, "BLEU", one.tasks, one.baseline) == ("↑" if sign > 0 else "↓")
    assert found.families["levels"]["all"] == TASKS[:4]
    assert found.families["between"] == {"high to low": ["de-lb"], "all without en": ["de-lb"]}
    assert found.families["sides"]["zero-shot"] == ["de-lb"]


def test_a_group_has_the_mean_of_its_tasks() -> None:
    parts = [
        make_results({"base": GOOD}),
        make_results({"ours": WORSE}, ["en-de"]),
        make_results({"ours": GOOD}, TASKS[1:]),
    ]
    results = merge_results(parts)
    found = study(results)
    loss = results.score("ours", "BLEU", ["en-de"]) - 100
    differences = {one.tasks: one.difference for one in found.comparisons}
    assert differences["en-de"] == pytest.approx(loss)
    assert differences["from en"] == pytest.approx(loss / 2)
    assert differences["all"] == pytest.approx(loss / 4)
    assert differences["to en"] == differences["en-lb"] == 0


def test_a_group_that_a_system_does_not_have_whole_is_not_compared() -> None:
    results = merge_results([make_results({"base": GOOD}), make_results({"ours": WORSE}, TASKS[:3])])
    found = study(results)
    assert {one.tasks for one in found.comparisons if one.family == "sides"} == {"from en"}
    assert {one.tasks for one in found.comparisons if one.family == "directions"} == {*TASKS[:3]}
    assert found.comparison("ours", "BLEU", "to en") is None
    assert found.mark("ours", "BLEU", "to en") == ""


def test_a_lower_error_rate_is_better() -> None:
    found = study(make_results({"base": WORSE, "ours": GOOD}, metric="ter"))
    one = found.comparison("ours", "TER", "to en")
    assert one is not None
    assert one.difference < 0 < one.gain
    assert found.mark("ours", "TER", "to en") == "↑"


def test_p_values_up_to_the_level_are_marked() -> None:
    results = make_results({"base": WORSE, "ours": GOOD})
    for p, mark in ((0.05, "↑"), (0.0501, ""), (0.9, "")):
        one = SystemComparison(
            baseline="base",
            system="ours",
            family="sides",
            tasks="to en",
            metric="BLEU",
            difference=2.0,
            p_value=p,
            adjusted_p_value=p,
            test="test",
            trials=100,
        )
        assert make_study(results, "base", comparisons=[one]).mark("ours", "BLEU", "to en") == mark


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(NeuronspecError, match=r"no system 'bse' \(did you mean 'base'\?\)"):
        make_study(make_results({"base": GOOD}), "bse")


def test_with_another_baseline_every_mark_compares_with_it() -> None:
    results = make_results({"base": WORSE, "tuned": GOOD, "ours": WORSE})
    found = study(results, pairs=[("base", "tuned"), ("tuned", "ours")])
    assert found.mark("tuned", "BLEU", "all") == "↑"

    turned = found.against("tuned")
    assert [turned.mark(system, "BLEU", "all") for system in ("base", "tuned", "ours")] == ["↓", "", "↓"]
    before, after = found.comparison("tuned", "BLEU", "all"), turned.comparison("base", "BLEU", "all")
    assert before
    assert after
    assert before.interval
    assert after.difference == -before.difference
    assert after.interval == (-before.interval[1], -before.interval[0])
    assert after.adjusted_p_value == before.adjusted_p_value


def test_scores_have_intervals_where_a_system_has_all_directions() -> None:
    mixed = [*GOOD[:10], *WORSE[10:]]
    results = merge_results([make_results({"base": mixed}), make_results({"half": GOOD}, TASKS[:1])])
    found = measure_intervals(make_study(results, "base"), ["base", "half"])
    for label in (*TASKS, "from en", "to en", "zero-shot"):
        score, low, high = found["base", "BLEU", label]
        assert low < score < high
    assert found["half", "BLEU", "en-de"] == pytest.approx((100, 100, 100))  # every sample is without an error
    assert ("half", "BLEU", "from en") not in found
    widths = [found["base", "BLEU", label].high - found["base", "BLEU", label].low for label in ("en-de", "from en")]
    assert widths[1] < widths[0]  # a mean is surer than a part of it


def test_workers_test_with_the_numbers_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Statistics in files: those in memory are not sent to workers.
    results = make_results({"base": GOOD, "ours": WORSE, "other": [*GOOD[:1], *WORSE[1:]]}, TASKS[:2])
    assert differences._count_useful_workers(results, [("BLEU", "base", "ours")] * 9, 10**12) == 1
    (tmp_path / "scores").mkdir()
    results.save(tmp_path / "scores")
    stored = make_study(Results.load(tmp_path / "scores"), "base", trials=200)

    with use_workers(1):
        here = compare_study(stored, seed=3).comparisons
    monkeypatch.setattr(differences, "CELLS_PER_WORKER", 1)
    monkeypatch.delattr(differences, "compare_groups")  # nothing is tested in this process
    with use_workers(2):
        there = compare_study(stored, seed=3).comparisons
    assert there == here
