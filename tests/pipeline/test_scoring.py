from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuronspec.config.schema import Config
from neuronspec.evaluation.results import QUALITY_FILE, SCORES_FILE
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.stages import score
from neuronspec.pipeline.studies import COMPARISONS_FILE, load_study
from neuronspec.pipeline.systems import choose_baselines


@pytest.mark.parametrize(
    ("systems", "baselines"),
    [
        (["pretrained"], {}),
        (["pretrained", "neuron_specialization"], {"neuron_specialization": ["pretrained"]}),
        (["pretrained", "x", "fine_tune"], {"x": ["pretrained", "fine_tune"], "fine_tune": ["pretrained"]}),
        (
            ["pretrained", "pretrained+masks", "pretrained+random"],
            {"pretrained+masks": ["pretrained+random", "pretrained"], "pretrained+random": ["pretrained"]},
        ),
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


def test_scoring_again_writes_the_same_bytes(copied: Config) -> None:
    files = [Layout(copied.out).scores / name for name in (SCORES_FILE, QUALITY_FILE, COMPARISONS_FILE)]
    before = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    score.execute(Run(copied))
    assert [file.read_bytes() for file in files] == before


def test_scores_and_comparisons_are_read_back(copied: Config) -> None:
    study = load_study(copied, Layout(copied.out))
    scores, found = study.results.scores, study.comparisons
    assert {score.metric for score in scores} == {"BLEU", "chrF++"}
    assert all(0 <= score.score <= 100 for score in scores)
    assert {(one.baseline, one.system) for one in found if one.system == "neuron_specialization"} == {
        ("pretrained", "neuron_specialization"),
        ("fine_tune", "neuron_specialization"),
    }
    by_task = {(score.system, score.metric, score.task): score.score for score in scores}
    for one in found:
        tasks = study.families.get(one.family, {}).get(one.tasks, [one.tasks])
        gains = [by_task[one.system, one.metric, t] - by_task[one.baseline, one.metric, t] for t in tasks]
        assert one.difference == pytest.approx(np.mean(gains))


def test_translations_that_lost_a_line_are_refused_and_the_old_scores_stay(copied: Config) -> None:
    before = (Layout(copied.out).scores / SCORES_FILE).read_bytes()
    path: Path = Layout(copied.out).translations("fine_tune") / "de-en.txt"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]), encoding="utf-8")
    with pytest.raises(Exception, match="there are 19 hypotheses, but there are 20 references; each needs its partner"):
        score.execute(Run(copied))
    assert (Layout(copied.out).scores / SCORES_FILE).read_bytes() == before
