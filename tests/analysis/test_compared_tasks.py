from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.planted import LANGUAGES, directions

from neuronspec.analysis.compared_tasks import (
    PAPER_SIDES,
    ComparedTasks,
    PivotSide,
    choose_tasks,
    has_pivot,
    split_by_side,
)
from neuronspec.languages import find_language

TASKS = ["en-ru", "sv-en", "en-de", "ru-en", "en-sv", "de-en"]


@pytest.mark.parametrize(
    ("stack", "tasks", "title"),
    [("encoder", ("de-en", "sv-en", "ru-en"), "x to en"), ("decoder", ("en-de", "en-sv", "en-ru"), "en to x")],
)
def test_a_stack_compares_the_side_that_is_not_the_pivot_by_family(
    stack: str, tasks: tuple[str, ...], title: str
) -> None:
    panel = choose_tasks(TASKS, "en", stack)
    assert (panel.stack, panel.tasks, panel.title) == (stack, tasks, title)
    assert panel.labels == ("de", "sv", "ru")
    assert panel.names == ("German", "Swedish", "Russian")
    assert panel.families == ("Germanic", "Germanic", "Slavic")
    assert panel.scripts == ("Latn", "Latn", "Cyrl")


@pytest.mark.parametrize(("stack", "side"), [*itertools.product(PAPER_SIDES, ("to", "from"))])
def test_either_side_can_be_compared_in_either_stack(stack: str, side: PivotSide) -> None:
    panel = choose_tasks(TASKS, "en", stack, side)
    assert all((task.endswith("-en")) == (side == "to") for task in panel.tasks)
    assert panel.title == {"to": "x to en", "from": "en to x"}[side]


@given(st.permutations(list(directions(LANGUAGES[:7]))), st.sampled_from(list(PAPER_SIDES)))
def test_the_order_of_the_tasks_does_not_matter_and_families_stand_together(tasks: list[str], stack: str) -> None:
    panel = choose_tasks(tasks, "en", stack)
    assert panel == choose_tasks(sorted(tasks), "en", stack)
    assert sorted(panel.labels) == sorted(LANGUAGES[:7])
    runs = [family for family, _ in itertools.groupby(panel.families)]
    assert len(runs) == len(set(runs))
    for task, label, language in zip(panel.tasks, panel.labels, panel.languages, strict=True):
        assert set(task.split("-")) == {label, "en"}
        assert language == find_language(label)


@pytest.mark.parametrize("stack", list(PAPER_SIDES))
def test_tasks_of_one_side_are_compared_in_both_stacks(stack: str) -> None:
    panel = choose_tasks(["en-nl", "en-de"], "en", stack)
    assert (panel.tasks, panel.labels, panel.title) == (("en-de", "en-nl"), ("de", "nl"), "en to x")


@pytest.mark.parametrize("pivot", ["eng_Latn", "en"])
def test_codes_of_nllb_are_compared_whatever_notation_the_pivot_is_in(pivot: str) -> None:
    tasks = ["eng_Latn-deu_Latn", "eng_Latn-rus_Cyrl", "rus_Cyrl-eng_Latn"]
    panel = choose_tasks(tasks, pivot, "decoder")
    assert (panel.tasks, panel.labels) == (tuple(tasks[:2]), ("deu_Latn", "rus_Cyrl"))
    assert panel.families == ("Germanic", "Slavic")
    assert choose_tasks(tasks, pivot, "encoder").labels == ("rus_Cyrl",)


def test_tasks_named_after_languages_are_compared_as_languages() -> None:
    panel = choose_tasks(["ru", "de", "en", "nl"], "en", "decoder")
    assert panel.tasks == panel.labels == ("de", "en", "nl", "ru")
    assert (panel.title, panel.families[0], panel.families[-1]) == ("all tasks", "Germanic", "Slavic")


@pytest.mark.parametrize("tasks", [["news", "law"], ["de-sv", "sv-de"], ["de", "law"]])
def test_other_tasks_keep_their_names_and_their_order(tasks: list[str]) -> None:
    panel = choose_tasks(tasks, "en", "encoder")
    assert panel == ComparedTasks("encoder", tuple(tasks), tuple(tasks), (), "all tasks")
    assert panel.names == tuple(tasks)
    assert panel.families == panel.scripts == ("", "")
    assert panel.relatives == ()


def test_isolates_creoles_and_made_up_languages_are_nobodys_relatives() -> None:
    panel = choose_tasks([f"{one}-en" for one in ("eu", "ht", "eo", "de", "nl")], "en", "encoder")
    relatives = dict(zip(panel.labels, panel.relatives, strict=True))
    assert relatives["de"] == relatives["nl"]
    assert len(set(relatives.values())) == 4


@pytest.mark.parametrize(
    ("pivot", "paired"), [("en", True), ("eng_Latn", True), ("ru", True), ("fr", False), ("e", False), ("", False)]
)
def test_a_pivot_stands_on_either_side_of_a_direction(pivot: str, paired: bool) -> None:
    assert has_pivot(["law", "en-ru"], pivot) == paired
    assert not has_pivot(["law", "ru", "en"], pivot)  # no directions


def test_tasks_are_divided_by_the_side_of_the_pivot() -> None:
    assert split_by_side(TASKS, "en") == {"from en": ["en-ru", "en-de", "en-sv"], "to en": ["sv-en", "ru-en", "de-en"]}
    assert split_by_side([*TASKS, "law"], "en") == {"all tasks": [*TASKS, "law"]}
    assert split_by_side(["de-sv"], "en") == {"all tasks": ["de-sv"]}


def test_languages_that_the_table_lacks_are_shown_as_unknown_and_last() -> None:
    panel = choose_tasks(["en-hsb", "en-de", "en-x-foo", "en-gsw-bern", "en-ru", "en-ton_Latn"], "en", "decoder")
    assert panel.labels == ("de", "ru", "gsw-bern", "hsb", "ton_Latn", "x-foo")
    assert panel.families == ("Germanic", "Slavic", *["unknown"] * 4)
    assert panel.scripts == ("Latn", "Cyrl", "unknown", "unknown", "Latn", "unknown")
    assert panel.names == ("German", "Russian", "gsw-bern", "hsb", "ton_Latn", "x-foo")
    assert len(set(panel.relatives)) == 6


def test_a_few_languages_that_the_table_lacks_are_among_tasks_named_after_languages() -> None:
    assert len(choose_tasks(["ru", "de", "hsb"], "en", "decoder").languages) == 3
    assert choose_tasks(["ru", "hsb"], "en", "decoder").languages == ()
    assert choose_tasks(["ru", "de", "german"], "en", "decoder").languages == ()


@pytest.mark.parametrize("pivot", ["en", "eng", "en_XX", "eng-US"])
def test_the_pivot_may_be_spelled_in_another_way_than_in_the_tasks(pivot: str) -> None:
    assert choose_tasks(["eng_Latn-deu_Latn", "eng_Latn-rus_Cyrl"], pivot, "decoder").labels == ("deu_Latn", "rus_Cyrl")
