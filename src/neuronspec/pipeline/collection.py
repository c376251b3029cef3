"""Results from several places brought together: finished runs, and directories that `score` made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from neuronspec.comparison.groups import Levels
from neuronspec.comparison.study import Cost, Study, make_study
from neuronspec.config.codes import check_levels
from neuronspec.config.loading import load_config
from neuronspec.data.reading_errors import explain_missing
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.results import SCORES_FILE, Results, merge_results
from neuronspec.languages import expect_language, is_known, same_language, split_direction, suggest_language
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.run_translations import count_training_words
from neuronspec.pipeline.studies import load_study
from neuronspec.pipeline.systems import COPY, FINE_TUNE, SPECIALIZED

if TYPE_CHECKING:
    from neuronspec.figures.shares import SharePoint
    from neuronspec.report.translations import WordCounts


def load_set(text: str) -> tuple[str, Study]:
    """Return what `[NAME=]DIRECTORY[:SYSTEM]` stands for: the name, empty if none is given, and the results.

    Args:
        text: Output directory of a run, or a directory that `score` made, with a system of it if only that is wanted.

    Raises:
        NeuronspecError: If there are no results, or there is no such system.
    """
    name, directory, system = _read_place(text)
    study = _load_study(directory)

    # A system that was asked for by name leaves the others out.
    if system:
        study = replace(study, results=study.results.select(system))
    return name, study


def _read_place(text: str) -> tuple[str, Path, str]:
    """Return the name, the directory and the system of `[NAME=]DIRECTORY[:SYSTEM]`, empty where not given."""
    # The separators are read only where the text is no path: a directory may have `=` or `:` in its name.
    name, place, system = "", text, ""
    if "=" in text and not Path(text).exists():
        name, place = text.split("=", 1)
    if ":" in place and not Path(place).exists():
        place, system = place.rsplit(":", 1)

    return name, Path(place), system


def _load_study(directory: Path) -> Study:
    """Read the results of a run, or those that `score` wrote."""
    # The directory of a run comes with its configuration, and so with comparisons, titles and costs.
    layout = Layout(directory)
    if layout.config.is_file():
        return load_study(load_config(layout.config), layout)  # the run has checked the options of its methods

    if not (directory / SCORES_FILE).is_file():
        found = "" if directory.exists() else f" ({explain_missing(directory)})"
        raise NeuronspecError(
            f"{directory} holds no results: give the output directory of a finished run, or one that `neuronspec score "
            f"--out` made{found}"
        )

    # Bare results have no baseline of their own: the first system stands in.
    results = Results.load(directory)
    return make_study(results, results.systems[0])


def collect_shares(texts: Sequence[str], metric: str) -> list[SharePoint]:
    """Return what each run's k leads to: the sparsity of its masks and the gain of the specialized model (Figure 5).

    The gain is that of `neuron_specialization` over fine-tuning, or over the pretrained model where there is none, on
    average over the trained directions.

    Args:
        texts: Places as for `load_set`; those that are no run, or have no such method or no single k, are left out.
        metric: Metric of the gain.

    Returns:
        A point for each k; the first run's where several have it.
    """
    points: dict[float, SharePoint] = {}
    for text in texts:
        # Only a run that has selected neurons has a k.
        layout = Layout(_read_place(text)[1])
        point = _find_share(layout, metric) if (layout.masks / MASKS_FILE).is_file() else None
        if point is not None:
            # The first run with a k wins, so that every k is one point of the figure.
            points.setdefault(point.k, point)
    return list(points.values())


def _find_share(layout: Layout, metric: str) -> SharePoint | None:
    """Return the point of a run with masks; None if it has no single k, or the score is missing."""
    from neuronspec.figures.shares import SharePoint
    from neuronspec.neurons.masks import NeuronMasks

    masks, study = NeuronMasks.from_pretrained(layout.masks), _load_study(layout.out)
    results = study.results

    # The signature has an entry for each stack or layer whose k differs: several values are no point of a curve.
    ks = {float(value) for key, value in masks.signature.items() if key.startswith("k.")}
    if len(ks) != 1 or SPECIALIZED not in results.systems or metric not in results.metrics:
        return None

    # Zero-shot directions are left out: the gain is that of what was trained.
    tasks = [task for task in results.tasks if task not in results.zero_shot]
    baseline = FINE_TUNE if FINE_TUNE in results.systems else PRETRAINED
    gain = results.score(SPECIALIZED, metric, tasks) - results.score(baseline, metric, tasks)
    return SharePoint(ks.pop(), masks.sparsity_by_layer(), gain)


def count_words(texts: Sequence[str]) -> WordCounts | None:
    """Return the word counts of the training text of the first run; None if there is no run with such text.

    Args:
        texts: Places as for `load_set`.
    """
    for text in texts:
        layout = Layout(_read_place(text)[1])
        words = count_training_words(load_config(layout.config), layout) if layout.config.is_file() else None
        if words is not None:
            return words
    return None


def rename_systems(name: str, study: Study) -> Study:
    """Return a study whose only system has a name, or whose systems have it in front of their own.

    Copying the source is left out: it is no system of the set.

    Raises:
        NeuronspecError: If nothing else is there.
    """
    own = [system for system in study.results.systems if system != COPY]
    if not own:
        raise NeuronspecError(f"{name}: copying the source is no system to compare")

    # A single system takes the name of its set; several keep their own names behind it, and so stay distinct.
    if len(own) == 1:
        names, titles = {own[0]: name}, {name: name}
    else:
        # Titles show the set in words, and the system as its own run calls it.
        names = {system: f"{name}:{system}" for system in own}
        titles = {names[system]: f"{name}: {study.title(system)}" for system in own}
    return replace(
        study,
        results=merge_results(study.results.select(old, new) for old, new in names.items()),
        baseline=names.get(study.baseline, names[own[0]]),
        comparisons=(),
        titles=titles,
        costs={names[system]: cost for system, cost in study.costs.items() if system in names},
    )


def gather(
    sets: Sequence[tuple[str, Study]],
    *,
    baseline: str | None = None,
    pivot: str | None = None,
    levels: Levels | None = None,
    trials: int | None = None,
    significance: float | None = None,
    correction: str | None = None,
) -> Study:
    """Return one study of all results; a single set that stays as it was keeps its comparisons.

    Args:
        sets: Name of each set, or an empty one, and its study; see `rename_systems`.
        baseline: System to compare with; by default the first.
        pivot: Language that most directions have in common; by default that of the first set.
        levels: Languages of each resource level; by default those of the first set that has some.
        trials: Number of trials of the tests.
        significance: Adjusted p-value up to which a difference is marked.
        correction: Correction of the p-values: `none`, `holm` or `bh`; by default that of the first set.

    Raises:
        NeuronspecError: If two results have the same system and task, or other references or signatures for one task,
            or there is no such baseline or correction.
    """
    # Every set with a name puts it on its systems, so that two runs of one method do not collide.
    studies = [rename_systems(name, study) if name else study for name, study in sets]

    # Results are checked before any test is made: no common metric or no such pivot would leave tables empty.
    first = studies[0]
    results = _merge(studies)
    _check_metrics(results, first)
    if pivot is not None:
        _check_pivot(pivot, results)

    # What is not asked for follows the first set.
    default_baseline = first.baseline if first.baseline in results.systems else results.systems[0]
    default_levels = next((study.levels for study in studies if study.levels), None)
    study = make_study(
        results,
        baseline or default_baseline,
        pivot=pivot or first.pivot,
        levels=levels or default_levels,
        comparisons=first.comparisons if len(studies) == 1 else (),
        significance=first.significance if significance is None else significance,
        trials=trials or first.trials,
        correction=first.correction if correction is None else correction,
    )
    if (study.pivot, study.levels) != (first.pivot, first.levels):
        study = replace(study, comparisons=())  # they compared other groups of directions

    # Titles and costs of all sets are joined; the speeds of trainings are compared with fine-tuning.
    titles = {system: title for one in studies for system, title in one.titles.items()}
    return replace(study, titles=titles, costs=_join_costs(studies), fine_tuned=FINE_TUNE)


def _merge(studies: Sequence[Study]) -> Results:
    """Return the results of all studies; of several, without copying the source, which each run has."""
    if len(studies) == 1:
        return studies[0].results

    # Copying the source gives the same scores in every run: merging would find it twice.
    selected = []
    for study in studies:
        selected += [study.results.select(system) for system in study.results.systems if system != COPY]
    return merge_results(selected)


def _check_metrics(results: Results, first: Study) -> None:
    """Refuse a system that has no metric of the first set."""
    wanted = set(first.results.metrics)
    for system in results.systems:
        metrics = {score.metric for score in results.scores if score.system == system}
        if not metrics & wanted:
            raise NeuronspecError(f"{system} has no metric in common with {first.baseline}: score both alike")


def _join_costs(studies: Sequence[Study]) -> dict[str, Cost]:
    """Return the costs of the systems; a system that is made of several models has none."""
    # A name that comes again stands for several models, such as bilingual ones for a direction each: their costs
    # cannot be shown as one.
    costs: dict[str, Cost] = {}
    several = set()

    for study in studies:
        for system in study.costs.keys() & set(study.results.systems):
            if system in costs:
                several.add(system)
            costs[system] = study.costs[system]

    # The loop above takes systems in no fixed order: here they are in that of the studies again.
    ordered = [system for study in studies for system in study.costs if system in costs]
    return {system: costs[system] for system in ordered if system not in several}


def _check_pivot(pivot: str, results: Results) -> None:
    """Refuse a pivot that no direction has, which would leave every group empty."""
    # Any spelling of the language will do: `en` is `eng_Latn`.
    sides = {side for task in results.tasks for side in split_direction(task)}
    if any(same_language(pivot, side) for side in sides):
        return

    # An unknown code is probably a typing error; a known one is simply not among these directions.
    unknown = "" if is_known(pivot) else f"unknown language {pivot!r}{suggest_language(pivot)}: "
    raise NeuronspecError(f"{unknown}no direction is from or to {pivot}; the languages are {', '.join(sorted(sides))}")


def check_alike(sets: Sequence[tuple[str, Study]]) -> None:
    """Refuse sets whose scores cannot be compared.

    Raises:
        NeuronspecError: If they differ in directions, references or signatures.
    """
    if len({frozenset(study.results.tasks) for _, study in sets}) > 1:
        raise NeuronspecError("--models needs the same directions in every directory")

    # Merging fails where references or signatures differ; its result is not needed.
    merge_results(
        study.results.select(system, f"{name}:{system}") for name, study in sets for system in study.results.systems
    )


def read_levels(texts: Iterable[str]) -> dict[str, list[str]]:
    """Return the levels that texts of the form `NAME=CODE,CODE` define.

    Raises:
        NeuronspecError: If a text has another form, or a language is unknown or in two levels.

    Example:
        >>> read_levels(["high=de,fr", "low=lb"])
        {'high': ['de', 'fr'], 'low': ['lb']}
    """
    levels: dict[str, list[str]] = {}
    for text in texts:
        name, equals, codes = text.partition("=")
        if not name or not equals or not codes.strip(","):
            raise NeuronspecError(f"{text!r} is no level: write NAME=CODE,CODE, such as high=de,fr")

        # A level that is given twice gets the languages of both.
        members = levels.setdefault(name, [])
        members += [code for code in codes.split(",") if code and expect_language(code)]

    try:
        check_levels(levels)
    except ValueError as error:
        raise NeuronspecError(str(error)) from error
    return levels
