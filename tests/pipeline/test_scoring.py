from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuronspec.config import Config
from neuronspec.evaluation.metrics import METRICS
from neuronspec.pipeline import scoring
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.plan import list_systems
from neuronspec.pipeline.scoring import Statistics, choose_baselines, compare, group_tasks

TASKS = ["en-de", "de-en", "en-sv", "sv-en", "de-sv"]
SYSTEMS = ["pretrained", "fine_tune", "neuron_specialization"]


def make_config(**changes: object) -> Config:
    values = {
        "tasks": TASKS,
        "data": {"train": [{"path": "x"}], "hold_out": {"valid": 0.1, "test": 0.1}},
        "model": {"preset": "tiny"},
        "evaluation": {"metrics": ["bleu"], "trials": 200},
    }
    return Config.model_validate(values | changes)


def make_statistics(hypotheses: dict[str, list[str]], references: list[str]) -> Statistics:
    return {
        ("bleu", system, task): METRICS["bleu"].statistics(lines, references, "en")
        for system, lines in hypotheses.items()
        for task in TASKS
    }


def test_tasks_are_grouped_by_the_side_of_the_pivot() -> None:
    assert group_tasks(make_config()) == {
        "from en": ["en-de", "en-sv"],
        "to en": ["de-en", "sv-en"],
        "other": ["de-sv"],
    }
    assert list(group_tasks(make_config(pivot="de"))) == ["from de", "to de", "other"]
    assert group_tasks(make_config(tasks=["en-de"])) == {"from en": ["en-de"]}


@pytest.mark.parametrize(
    ("systems", "baselines"),
    [
        (["pretrained"], {}),
        (["pretrained", "neuron_specialization"], {"neuron_specialization": ["pretrained"]}),
        (["pretrained", "x", "fine_tune"], {"x": ["pretrained", "fine_tune"], "fine_tune": ["pretrained"]}),
        (
            ["pretrained", "pretrained+random", "fine_tune"],
            {"pretrained+random": ["pretrained"], "fine_tune": ["pretrained"]},
        ),
    ],
)
def test_masks_are_compared_with_the_model_and_methods_with_fine_tuning_too(
    systems: list[str], baselines: dict[str, list[str]]
) -> None:
    assert choose_baselines(systems) == baselines


def test_r12_identical_systems_do_not_differ() -> None:
    references = [f"the cat number {n} sat on the mat" for n in range(20)]
    garbled = [line.replace("cat", "dog") for line in references]
    statistics = make_statistics(dict.fromkeys(SYSTEMS, garbled), references)
    for one in compare(make_config(), statistics, choose_baselines(SYSTEMS)):
        assert (one.difference, one.p_value, one.adjusted_p_value) == (0, 1, 1)


def test_a_better_system_is_found_and_p_values_are_corrected_within_their_family() -> None:
    references = [f"the cat number {n} sat on the mat and slept" for n in range(20)]
    worse = [line.replace("sat on", "stood beneath") for line in references]
    statistics = make_statistics(
        {"pretrained": worse, "fine_tune": references, "neuron_specialization": worse}, references
    )
    found = list(compare(make_config(), statistics, choose_baselines(SYSTEMS)))
    groups, singles = ["from en", "to en", "other"], TASKS
    # three pairs of systems, each on the groups and then on the single tasks
    assert [one.tasks for one in found] == (groups + singles) * 3
    gain = 100 - float(METRICS["bleu"].score(statistics["bleu", "pretrained", "en-de"].sum(0)))
    for one in found:
        sign = {("fine_tune", "pretrained"): 1, ("neuron_specialization", "fine_tune"): -1}.get(
            (one.system, one.baseline), 0
        )
        assert one.difference == pytest.approx(sign * gain)
        if not sign:
            assert one.adjusted_p_value == 1
        else:
            # all p-values are the smallest there are: Holm multiplies them by the size of their family
            assert one.p_value == pytest.approx(1 / 201)
            assert one.adjusted_p_value == pytest.approx((3 if one.tasks in groups else 5) / 201)


def test_a_group_has_the_mean_of_its_tasks() -> None:
    references = [f"the cat number {n} sat on the mat and slept" for n in range(10)]
    statistics = make_statistics({"pretrained": references, "fine_tune": references}, references)
    broken = [line.replace("sat", "lay") for line in references]
    statistics["bleu", "fine_tune", "en-de"] = METRICS["bleu"].statistics(broken, references, "en")
    loss = float(METRICS["bleu"].score(statistics["bleu", "fine_tune", "en-de"].sum(0))) - 100
    found = {
        one.tasks: one.difference
        for one in compare(make_config(), statistics, choose_baselines(["pretrained", "fine_tune"]))
    }
    assert found["en-de"] == pytest.approx(loss)
    assert found["from en"] == pytest.approx(loss / 2)
    assert found["to en"] == found["en-sv"] == 0


def test_scoring_again_writes_the_same_bytes(copied: Config) -> None:
    files = [Layout(copied.out).scores / name for name in (scoring.SCORES_FILE, scoring.COMPARISONS_FILE)]
    before = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    scoring.score(copied, Layout(copied.out), list_systems(copied))
    assert [file.read_bytes() for file in files] == before


def test_scores_and_comparisons_are_read_back(copied: Config) -> None:
    scores, found = scoring.load_scores(Layout(copied.out)), scoring.load_comparisons(Layout(copied.out))
    assert {score.metric for score in scores} == {"BLEU", "chrF++"}
    assert all(0 <= score.score <= 100 for score in scores)
    assert {(one.baseline, one.system) for one in found if one.system == "neuron_specialization"} == {
        ("pretrained", "neuron_specialization"),
        ("fine_tune", "neuron_specialization"),
    }
    by_task = {(score.system, score.metric, score.task): score.score for score in scores}
    for one in found:
        tasks = group_tasks(copied).get(one.tasks, [one.tasks])
        gains = [by_task[one.system, one.metric, t] - by_task[one.baseline, one.metric, t] for t in tasks]
        assert one.difference == pytest.approx(np.mean(gains))


def test_translations_that_lost_a_line_are_refused_and_the_old_scores_stay(copied: Config) -> None:
    before = (Layout(copied.out).scores / scoring.SCORES_FILE).read_bytes()
    path: Path = Layout(copied.out).translations("fine_tune") / "de-en.txt"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]), encoding="utf-8")
    with pytest.raises(Exception, match="19 hypotheses, 20 sources, 20 references"):
        scoring.score(copied, Layout(copied.out), ["pretrained", "fine_tune"])
    assert (Layout(copied.out).scores / scoring.SCORES_FILE).read_bytes() == before
