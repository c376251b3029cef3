"""Results from several places brought together: finished runs, and directories that `score` made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from neuronspec.comparison.groups import Levels
from neuronspec.comparison.study import Study, make_study
from neuronspec.config.codes import check_levels
from neuronspec.config.loading import load_config
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.results import SCORES_FILE, Results, merge_results
from neuronspec.languages import expect_language, is_known, same_language, split_direction, suggest_language
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.studies import load_study
from neuronspec.pipeline.systems import COPY, FINE_TUNE

if TYPE_CHECKING:
    from neuronspec.figures.shares import SharePoint


def load_set(text: str) -> tuple[str, Study]:
    """Return what `[NAME=]DIRECTORY[:SYSTEM]` means: the name, empty where none is given, and the results.

    Args:
        text: the output directory of a run, or a directory that `score` made; one system of it, where that is named.

    Raises:
        NeuronspecError: there are no results, or there is no such system.
    """
    name, directory, system = _read_place(text)
    study = _load(directory)
    return name, replace(study, results=study.results.select(system)) if system else study


def collect_shares(texts: Sequence[str], metric: str) -> list[SharePoint]:
    """Return what each run's k leads to: its masks' sparsity, and what the specialised model gains (paper Figure 5).

    The gain is that of `neuron_specialization` over fine-tuning, or over the pretrained model where there is none, on
    average over the trained directions.

    Args:
        texts: as for `load_set`; what is no run, or has no such method or no single k, is left out.
        metric: the score that is gained.

    Returns:
        A point for each k, the first run's where several have it.
    """
    from neuronspec.figures.shares import SharePoint

    points: dict[float, SharePoint] = {}
    for text in texts:
        layout = Layout(_read_place(text)[1])
        if not (layout.masks / MASKS_FILE).is_file():
            continue
        from neuronspec.neurons.masks import NeuronMasks

        masks, study = NeuronMasks.from_pretrained(layout.masks), _load(layout.out)
        ks = {float(value) for key, value in masks.signature.items() if key.startswith("k.")}
        systems = study.results.systems
        baseline = FINE_TUNE if FINE_TUNE in systems else PRETRAINED
        if len(ks) != 1 or "neuron_specialization" not in systems or metric not in study.results.metrics:
            continue
        tasks = [task for task in study.results.tasks if task not in study.results.zero_shot]
        ours, theirs = (study.results.score(one, metric, tasks) for one in ("neuron_specialization", baseline))
        points.setdefault(next(iter(ks)), SharePoint(next(iter(ks)), masks.sparsity_by_layer(), ours - theirs))
    return list(points.values())


def _read_place(text: str) -> tuple[str, Path, str]:
    """Return the name, the directory and the system of `[NAME=]DIRECTORY[:SYSTEM]`, empty where not given."""
    name, place = text.split("=", 1) if "=" in text and not Path(text).exists() else ("", text)
    directory, system = Path(place), ""
    if not directory.exists() and ":" in place:
        place, system = place.rsplit(":", 1)
        directory = Path(place)
    return name, directory, system


def rename_systems(name: str, study: Study) -> Study:
    """Return a study whose only system has a name, or whose systems have it in front of their own.

    Copying the source goes: it is no system of the set's.
    """
    own = [one for one in study.results.systems if one != COPY]
    if not own:
        raise NeuronspecError(f"{name}: copying the source is no system to compare")
    names = {one: name if len(own) == 1 else f"{name}:{one}" for one in own}
    titles = {new: name if len(own) == 1 else f"{name}: {study.title(one)}" for one, new in names.items()}
    return replace(
        study,
        results=merge_results(study.results.select(one, new) for one, new in names.items()),
        baseline=names.get(study.baseline, names[own[0]]),
        comparisons=(),
        titles=titles,
        costs={names[one]: cost for one, cost in study.costs.items() if one in names},
    )


def gather(
    sets: Sequence[tuple[str, Study]],
    baseline: str | None = None,
    pivot: str | None = None,
    levels: Levels | None = None,
    trials: int | None = None,
    significance: float | None = None,
    correction: str | None = None,
) -> Study:
    """Return one study of all results; a single one that stays as it was keeps its comparisons.

    Args:
        sets: the name of each set, or an empty one, and its study; see `rename_systems`.
        baseline: the system to compare with; by default the first.
        pivot: the language that most directions have in common; by default that of the first.
        levels: the languages of each resource level; by default those of the first that has some.
        trials: of the tests.
        significance: an adjusted p-value up to it is marked.
        correction: of p-values: `none`, `holm` or `bh`; by default that of the first.

    Raises:
        NeuronspecError: two results have the same system and task, other references or signatures for one task, or
            there is no such baseline or correction.
    """
    studies = [rename_systems(name, study) if name else study for name, study in sets]
    first = studies[0]
    if len(studies) == 1:
        results = first.results
    else:  # copying the source is no system to compare; each run has it
        results = merge_results(
            one.results.select(system) for one in studies for system in one.results.systems if system != COPY
        )
    for system in results.systems:
        if not {score.metric for score in results.scores if score.system == system} & {*first.results.metrics}:
            raise NeuronspecError(f"{system} has no metric in common with {first.baseline}: score both alike")
    if pivot is not None:
        _check_pivot(pivot, results)
    study = make_study(
        results,
        baseline or (first.baseline if first.baseline in results.systems else results.systems[0]),
        pivot=pivot or first.pivot,
        levels=levels or next((one.levels for one in studies if one.levels), None),
        comparisons=first.comparisons if len(studies) == 1 else (),
        significance=first.significance if significance is None else significance,
        trials=trials or first.trials,
        correction=first.correction if correction is None else correction,
    )
    if (study.pivot, study.levels) != (first.pivot, first.levels):
        study = replace(study, comparisons=())  # they were of other groups
    titles = {system: title for one in studies for system, title in one.titles.items()}
    costs = [item for one in studies for item in one.costs.items() if item[0] in one.results.systems]
    counts = Counter(system for system, _ in costs)  # of a system made of several models, none is its cost
    known = {system: cost for system, cost in costs if counts[system] == 1}
    return replace(study, titles=titles, costs=known, fine_tuned=FINE_TUNE)


def _check_pivot(pivot: str, results: Results) -> None:
    """Refuse a pivot that no direction has, which would leave every group empty."""
    sides = {side for task in results.tasks for side in split_direction(task)}
    if any(same_language(pivot, side) for side in sides):
        return
    unknown = "" if is_known(pivot) else f"unknown language {pivot!r}{suggest_language(pivot)}: "
    raise NeuronspecError(f"{unknown}no direction is from or to {pivot}; the languages are {', '.join(sorted(sides))}")


def check_alike(sets: Sequence[tuple[str, Study]]) -> None:
    """Refuse sets whose scores must not stand side by side.

    Raises:
        NeuronspecError: they have other directions, references or signatures.
    """
    if len({frozenset(study.results.tasks) for _, study in sets}) > 1:
        raise NeuronspecError("--models needs the same directions in every directory")
    merge_results(
        study.results.select(system, f"{name}:{system}") for name, study in sets for system in study.results.systems
    )


def read_levels(texts: Iterable[str]) -> dict[str, list[str]]:
    """Return the levels that `NAME=CODE,CODE` texts mean.

    Raises:
        NeuronspecError: a text is no such thing, a language is unknown, or in two levels.

    Example:
        >>> read_levels(["high=de,fr", "low=lb"])
        {'high': ['de', 'fr'], 'low': ['lb']}
    """
    levels: dict[str, list[str]] = {}
    for text in texts:
        name, equals, codes = text.partition("=")
        if not name or not equals or not codes.strip(","):
            raise NeuronspecError(f"{text!r} is no level: write NAME=CODE,CODE, such as high=de,fr")
        members = levels.setdefault(name, [])
        members += [code for code in codes.split(",") if code and expect_language(code)]
    try:
        check_levels(levels)
    except ValueError as error:
        raise NeuronspecError(str(error)) from error
    return levels


def _load(directory: Path) -> Study:
    layout = Layout(directory)
    if layout.config.is_file():
        return load_study(load_config(layout.config), layout)  # the run has checked the options of its methods
    if not (directory / SCORES_FILE).is_file():
        raise NeuronspecError(
            f"{directory} holds no results: give the output directory of a finished run, or one that `neuronspec score "
            "--out` made"
        )
    results = Results.load(directory)
    return make_study(results, results.systems[0])
