"""Problems of settings: schedules, vocabularies and corpora, each with its fix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.checking.corpora import check_corpora
from neuronspec.checking.problem import Problem, announce_problems, has_errors, sort_problems
from neuronspec.checking.schedule import LOW_PEAK, check_schedule
from neuronspec.checking.vocabulary import check_pieces
from neuronspec.config.loading import load_config
from neuronspec.config.sections import Corpus, Data, Training
from neuronspec.errors import NeuronspecError
from neuronspec.training.schedule import learning_rate


def apply_fix(training: Training, fix: str) -> Training:
    """Return the settings after the first of the fixes that a problem names."""
    key, _, value = fix.partition(",")[0].partition("=")
    return training.model_copy(update={key.partition(".")[2]: float(value) if "decay" in key else int(value)})


@given(
    updates=st.integers(0, 400),
    warmup=st.integers(0, 800),
    decay=st.floats(0, 1),
    schedule=st.sampled_from(["inverse_sqrt", "constant"]),
)
def test_a_schedule_is_reported_if_it_never_comes_near_its_peak_and_the_fix_fixes_it(
    updates: int, warmup: int, decay: float, schedule: str
) -> None:
    training = Training(updates=updates, warmup=warmup, decay=decay, schedule=schedule)
    problems = list(check_schedule(training, "train"))
    rates = [learning_rate(update, training) for update in range(updates)]
    low = bool(rates) and max(rates) < LOW_PEAK * training.learning_rate
    assert bool(problems) == (low or (0 < updates < warmup))
    for problem in problems:
        assert problem.level == "warning"
        assert not re.search(r"\de[+-]?\d", str(problem))  # no scientific notation
        if updates >= 10:
            assert list(check_schedule(apply_fix(training, problem.fix), "train")) == []


def test_the_recipes_have_sound_schedules() -> None:
    for name in ("demo", "iwslt", "ec30", "ec31-small", "bilingual"):
        config = load_config(name)
        for key in ("train", "continued"):
            assert list(check_schedule(getattr(config, key), key)) == []


def test_a_vocabulary_that_the_text_does_not_fill_is_reported_with_a_size_that_it_does() -> None:
    assert list(check_pieces(100, 100)) == []
    [problem] = check_pieces(5_678, 32_000)
    assert str(problem) == (
        "prepare.vocabulary.size is 32000, but this text gives only 5678 pieces, rare ones included; "
        "fix: prepare.vocabulary.size=5600 or less"
    )
    [problem] = check_pieces(50, 64)  # no smaller vocabulary is allowed
    assert problem.fix == "give more text"


def test_every_file_that_is_missing_is_named_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "de.tsv").write_text("one\teins\n", encoding="utf-8")
    (tmp_path / "dev.en").write_text("one\n", encoding="utf-8")
    (tmp_path / "dev.de").write_text("eins\n", encoding="utf-8")
    data = Data(
        train=[Corpus(path=f"{tmp_path}/{{lang}}.tsv")],
        valid=[Corpus(path=f"{tmp_path}/dev.{{lang}}", format="lines")],
        test=[Corpus(path=f"{tmp_path}/test.{{lang}}", languages=["fr"]), Corpus(path="hub:nobody/asks")],
    )
    problems = list(check_corpora(data, ["en-de", "en-fr"], "en"))
    assert [problem.subject for problem in problems] == ["data.train", "data.valid", "data.test"]
    assert ["fr.tsv does not exist" in problems[0].message, "dev.fr" in problems[1].message] == [True, True]
    assert all(problem.level == "error" for problem in problems)


def test_a_table_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "de.tsv").write_text("only one column\n", encoding="utf-8")
    data = Data(train=[Corpus(path=f"{tmp_path}/{{lang}}.tsv")])
    [problem] = check_corpora(data, ["en-de"], "en")
    assert "de.tsv:1" in problem.message


def make(level: str, message: str = "x") -> Problem:
    return Problem(level=level, subject="s", message=message)  # type: ignore[arg-type]


def test_the_worst_problems_come_first_and_each_once() -> None:
    found = [make("note"), make("error", "b"), make("warning"), make("error", "a"), make("error", "b")]
    assert sort_problems(found) == [make("error", "b"), make("error", "a"), make("warning"), make("note")]
    assert has_errors(found)
    assert not has_errors([make("warning")])


def test_all_errors_are_named_at_once_and_warnings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    announce_problems([make("warning", "careful"), make("note", "by the way")])
    assert caplog.messages == ["careful"]
    with pytest.raises(NeuronspecError, match=r"^alone$"):
        announce_problems([make("error", "alone")])
    with pytest.raises(NeuronspecError, match=r"^2 problems stand in the way:\n  - first\n  - second$"):
        announce_problems([make("error", "first"), make("error", "second")])


def test_a_warm_up_that_ends_at_its_peak_with_the_training_is_fine() -> None:
    assert list(check_schedule(Training(updates=4, warmup=4), "train")) == []
    [problem] = check_schedule(Training(updates=200, warmup=201), "train")
    assert problem.message.endswith("the learning rate only reaches 100 % of its peak")
