from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from neuronspec.comparison import compare
from neuronspec.comparison.all_tables import tabulate_all
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.scoring import score
from neuronspec.statistics.paired import paired_approximate_randomization

REFERENCES = [f"The {animal} sees {number} old dogs." for animal in ("cat", "cow", "hen") for number in range(8)]
WORSE = [text.replace("old", "young") for text in REFERENCES]
HALF = [*WORSE[::2], *REFERENCES[1::2]]
TASKS = ("de-en", "fr-en", "en-de")


def by_task(texts: list[str]) -> dict[str, list[str]]:
    return dict.fromkeys(TASKS, texts)


def test_the_difference_and_its_test_are_those_of_the_metric() -> None:
    study = compare({"base": WORSE, "ours": REFERENCES}, REFERENCES, task="de-en", metrics=["bleu"], trials=200, seed=3)
    [worse] = score(WORSE, REFERENCES, "en", ["bleu"])
    found = study.comparison("ours", "BLEU", "de-en")
    assert found is not None
    assert found.difference == pytest.approx(100 - worse.value)
    bleu = METRICS["bleu"]
    theirs, ours = (bleu.statistics(lines, REFERENCES, "en") for lines in (WORSE, REFERENCES))
    golden = paired_approximate_randomization(theirs, ours, bleu.score, trials=200, seed=3)
    assert found.p_value == golden.p_value
    assert found.interval is not None
    assert found.interval[0] > 0
    assert study.results.score("base", "BLEU", ["de-en"]) == worse.value
    assert study.mark("ours", "BLEU", "de-en") == "↑"


def test_p_values_of_several_directions_are_corrected_and_averaged() -> None:
    systems = {"base": by_task(WORSE), "same": by_task(WORSE), "ours": by_task(REFERENCES)}
    study = compare(systems, by_task(REFERENCES), metrics=["chrf"], trials=200, correction="none")
    corrected = compare(systems, by_task(REFERENCES), metrics=["chrf"], trials=200)
    for task in TASKS:
        same, ours = (study.comparison(system, "chrF++", task) for system in ("same", "ours"))
        holm = corrected.comparison("ours", "chrF++", task)
        assert same is not None and ours is not None and holm is not None  # noqa: PT018
        assert (same.difference, same.p_value) == (0, 1)  # R12
        assert ours.adjusted_p_value == ours.p_value == holm.p_value
        assert holm.adjusted_p_value == pytest.approx(3 * holm.p_value)
    assert study.comparison("ours", "chrF++", "to en") is not None
    assert "outcomes" in tabulate_all(study)


def test_another_baseline_can_be_named() -> None:
    systems = {"base": WORSE, "ours": REFERENCES, "half": HALF}
    study = compare(systems, REFERENCES, task="de-en", baseline="half", metrics=["chrf"], trials=20)
    assert {(one.baseline, one.system) for one in study.comparisons} == {("half", "base"), ("half", "ours")}


@pytest.mark.parametrize(
    ("hypotheses", "references", "options", "reason"),
    [
        ({"base": WORSE}, REFERENCES, {"task": "de-en"}, "expected two or more systems .* found base"),
        ({}, REFERENCES, {"task": "de-en"}, "two or more systems .* found none"),
        ({"a": WORSE, "b": WORSE[1:]}, REFERENCES, {"task": "de-en"}, "b has 23 sentences of de-en, but there are 24"),
        ({"a": by_task(WORSE), "b": {"de-en": WORSE}}, by_task(REFERENCES), {}, "b lacks fr-en, en-de: a fair"),
        ({"a": by_task(WORSE), "b": by_task(WORSE)}, {"de-en": REFERENCES}, {}, "a has no references of fr-en, en-de"),
        ({"a": WORSE, "b": WORSE}, REFERENCES, {}, 'say what they are, such as task="en-de"'),
        ({"a": by_task(WORSE), "b": by_task(WORSE)}, by_task(REFERENCES), {"task": "de-en"}, "leave the task out"),
        ({"a": "text", "b": WORSE}, REFERENCES, {"task": "de-en"}, "a: found one string, expected a list"),
        ({"bass": WORSE, "b": WORSE}, REFERENCES, {"task": "de-en", "baseline": "base"}, "did you mean 'bass'"),
        ({"a": WORSE, "b": WORSE}, REFERENCES, {"task": "de-en", "correction": "hulm"}, "unknown correction 'hulm'"),
        (
            {"a": WORSE, "b": WORSE},
            REFERENCES,
            {"task": "de-en", "sources": ["x"]},
            "list of sources has 1 sent",
        ),
        ({"a": WORSE, "b": WORSE}, REFERENCES, {"task": "de-en", "metrics": ["blue"]}, "unknown metric 'blue'"),
    ],
)
def test_what_is_not_fair_or_not_known_is_refused(
    hypotheses: Any, references: Any, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(NeuronspecError, match=reason):
        compare(hypotheses, references, **options)


def test_scoring_and_comparing_need_no_torch() -> None:
    program = (
        "import sys; from neuronspec.comparison import compare; from neuronspec.evaluation import score\n"
        "score(['a b'], ['a b'], 'en'); compare({'a': ['a b'], 'b': ['a c']}, ['a b'], task='de-en', trials=9)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
