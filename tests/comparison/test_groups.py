from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from neuronspec.comparison.groups import find_levels, group_between_levels, group_by_level, group_by_side
from neuronspec.languages import EC30_LEVELS, spell_pivot, split_direction

LANGUAGES = ["de", "fr", "it", "lb", "am"]
GRID = [f"{a}-{b}" for a in ("en", *LANGUAGES) for b in ("en", *LANGUAGES) if a != b]


def test_tasks_are_grouped_by_the_side_of_the_pivot() -> None:
    tasks = ["en-de", "de-en", "en-sv", "sv-en", "de-sv"]
    assert group_by_side(tasks, "en") == {
        "from en": ["en-de", "en-sv"],
        "to en": ["de-en", "sv-en"],
        "other": ["de-sv"],
    }
    assert group_by_side(tasks, "en", ["de-sv"])["zero-shot"] == ["de-sv"]
    assert list(group_by_side(tasks, "de")) == ["from de", "to de", "other"]
    assert group_by_side(["en-de"], "en") == {"from en": ["en-de"]}


def test_the_levels_of_the_paper_are_found_and_others_are_given() -> None:
    tasks = [f"en-{code}" for level in EC30_LEVELS.values() for code in level]
    assert find_levels(tasks, "en") == {level: list(codes) for level, codes in EC30_LEVELS.items()}
    assert find_levels([*tasks, "en-tr"], "en") == {}  # Turkish is none of the thirty: EC30's levels do not fit
    assert find_levels(["eng_Latn-deu_Latn"], "eng_Latn") == {"high": ["deu_Latn"]}
    assert find_levels(["en-tr", "de-en"], "en", {"much": ["de", "fr"], "little": ["tr"]}) == {
        "much": ["de"],
        "little": ["tr"],
    }
    assert find_levels(["eng_Latn-deu_Latn"], "eng_Latn", {"much": ["de"]}) == {"much": ["deu_Latn"]}
    assert find_levels(["en-hsb"], "en", {"few": ["hsb_Latn"]}) == {"few": ["hsb"]}


@given(st.lists(st.sampled_from(GRID), unique=True))
def test_every_task_is_in_the_groups_of_its_sides(tasks: list[str]) -> None:
    levels = find_levels(tasks, "en")
    by_level, between = group_by_level(tasks, "en", levels), group_between_levels(tasks, "en", levels)
    central = [task for task in tasks if "en" in split_direction(task)]
    rest = [task for task in tasks if task not in central]
    assert by_level.get("all", []) == central
    assert between.get("all without en", []) == rest
    assert sorted(task for level in levels for task in by_level.get(level, [])) == sorted(central)
    assert sorted(t for name, group in between.items() if not name.startswith("all") for t in group) == sorted(rest)
    for name, group in {**by_level, **between}.items():
        assert group, name
        assert all((" from " in name) <= task.startswith("en-") for task in group)
        assert all(name.endswith(" to en") <= task.endswith("-en") for task in group)


def test_groups_of_languages_that_the_table_lacks() -> None:
    tasks = ["eng_Latn-hsb", "hsb-eng_Latn", "eng_Latn-gsw-bern", "hsb-gsw-bern"]
    pivot = spell_pivot([*tasks, "no direction"], "en")
    assert group_by_side(tasks, pivot) == {
        "from eng_Latn": ["eng_Latn-hsb", "eng_Latn-gsw-bern"],
        "to eng_Latn": ["hsb-eng_Latn"],
        "other": ["hsb-gsw-bern"],
    }
    assert find_levels(tasks, pivot) == {}
    assert find_levels(tasks, pivot, {"few": ["hsb_Latn"]}) == {"few": ["hsb"]}
