"""Groups of directions that scores are averaged over: from the pivot, to it, by resource level, zero-shot."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, product

from neuronspec.languages import EC30_LEVELS, resource_level, same_language, split_direction

Groups = dict[str, list[str]]
Levels = Mapping[str, Collection[str]]

ALL = "all"

# Families of groups: the p-values of the groups of one family are corrected together.
BY_SIDE, BY_LEVEL, BETWEEN_LEVELS = "sides", "levels", "between"


def group_families(
    tasks: Sequence[str], pivot: str, levels: Levels, zero_shot: Collection[str] = ()
) -> dict[str, Groups]:
    """Return the groups that tables average over, in the families in which p-values are corrected together.

    Args:
        tasks: Directions.
        pivot: Language that most directions have in common.
        levels: Languages of each resource level, as the tasks write them.
        zero_shot: Directions that were not trained.
    """
    return {
        BY_SIDE: group_by_side(tasks, pivot, zero_shot),
        BY_LEVEL: group_by_level(tasks, pivot, levels),
        BETWEEN_LEVELS: group_between_levels(tasks, pivot, levels),
    }


def group_by_side(tasks: Iterable[str], pivot: str, zero_shot: Collection[str] = ()) -> Groups:
    """Return the tasks from the pivot, to it, between other languages, and those that were not trained.

    Args:
        tasks: Directions.
        pivot: Language that most directions have in common.
        zero_shot: Those of the directions that were not trained.

    Example:
        >>> group_by_side(["en-de", "de-en", "de-fr"], "en", zero_shot=["de-fr"])
        {'from en': ['en-de'], 'to en': ['de-en'], 'zero-shot': ['de-fr']}
    """
    groups: Groups = {f"from {pivot}": [], f"to {pivot}": [], "other": [], "zero-shot": []}
    for task in tasks:
        source, target = split_direction(task)

        # Directions that were not trained are a group of their own, whatever their languages.
        if task in zero_shot:
            groups["zero-shot"].append(task)
        elif source == pivot:
            groups[f"from {pivot}"].append(task)
        elif target == pivot:
            groups[f"to {pivot}"].append(task)
        else:
            groups["other"].append(task)

    return _without_empty(groups)


def find_levels(tasks: Sequence[str], pivot: str, levels: Levels | None = None) -> dict[str, list[str]]:
    """Return the languages of each resource level that occur in the tasks.

    Args:
        tasks: Directions.
        pivot: Language that belongs to no level.
        levels: Languages of each level. By default those of EC30 (the paper's Table 7) if every language is one of
            its thirty; otherwise no levels.

    Returns:
        For each level, in order, its languages as the tasks write them, in the tasks' order.

    Example:
        >>> find_levels(["en-de", "en-lb", "lb-en"], "en")
        {'high': ['de'], 'low': ['lb']}
        >>> find_levels(["en-de", "en-tr"], "en")
        {}
    """
    # The languages of the tasks, each once, without the pivot.
    found: dict[str, None] = {}
    for task in tasks:
        found |= dict.fromkeys(split_direction(task))
    found.pop(pivot, None)
    languages = list(found)

    # The levels that were given, with the languages that occur here.
    if levels:
        return _without_empty({level: _choose(languages, members) for level, members in levels.items()})

    # One language that EC30 lacks, and its levels mean nothing here.
    groups: Groups = {level: [] for level in EC30_LEVELS}
    for language in languages:
        level = resource_level(language)
        if not level:
            return {}
        groups[level].append(language)
    return _without_empty(groups)


def _choose(languages: Iterable[str], members: Collection[str]) -> list[str]:
    """Return the languages that are among the members of a level, in whatever spelling."""
    chosen = []
    for language in languages:
        if any(same_language(language, member) for member in members):
            chosen.append(language)
    return chosen


def group_by_level(tasks: Iterable[str], pivot: str, levels: Levels) -> Groups:
    """Return the tasks of each level from the pivot, to it, and both; then those of all (the paper's Table 2).

    Example:
        >>> groups = group_by_level(["en-de", "de-en", "en-lb", "de-lb"], "en", {"high": ["de"], "low": ["lb"]})
        >>> [f"{name}: {', '.join(tasks)}" for name, tasks in groups.items()]
        ['high from en: en-de', 'high to en: de-en', 'high: en-de, de-en', 'low from en: en-lb', 'low: en-lb', \
'all from en: en-de, en-lb', 'all to en: de-en', 'all: en-de, de-en, en-lb']
    """
    # Only directions with the pivot have a level: that of their other language.
    central = {}
    for task in tasks:
        source, target = split_direction(task)
        if pivot in (source, target):
            central[task] = (source, target)
    everyone = set(chain(*central.values()))

    groups: Groups = {}
    for level, members in {**levels, ALL: everyone}.items():
        # The directions of the level, sorted by their side.
        from_pivot, to_pivot, both = [], [], []
        for task, (source, target) in central.items():
            # What is left without the pivot is the other language, which has the level.
            if not {source, target} - {pivot} <= {*members}:
                continue

            both.append(task)
            if source == pivot:
                from_pivot.append(task)
            if target == pivot:
                to_pivot.append(task)

        groups[f"{level} from {pivot}"] = from_pivot
        groups[f"{level} to {pivot}"] = to_pivot
        groups[level] = both
    return _without_empty(groups)


def group_between_levels(tasks: Iterable[str], pivot: str, levels: Levels) -> Groups:
    """Return the tasks without the pivot by the level of either side, then all of them (the paper's Table 15).

    Example:
        >>> group_between_levels(["de-lb", "lb-de", "en-de"], "en", {"high": ["de"], "low": ["lb"]})
        {'high to low': ['de-lb'], 'low to high': ['lb-de'], 'all without en': ['de-lb', 'lb-de']}
    """
    level_of: dict[str, str] = {}
    for level, members in levels.items():
        level_of |= dict.fromkeys(members, level)

    # Directions of languages without a level count only in the group of all.
    groups: Groups = {f"{source} to {target}": [] for source, target in product(levels, repeat=2)}
    rest: list[str] = []
    for task in tasks:
        source, target = split_direction(task)
        if pivot in (source, target):
            continue

        rest.append(task)
        if source in level_of and target in level_of:
            groups[f"{level_of[source]} to {level_of[target]}"].append(task)

    return _without_empty({**groups, f"{ALL} without {pivot}": rest})


def _without_empty(groups: Mapping[str, list[str]]) -> Groups:
    return {name: members for name, members in groups.items() if members}
