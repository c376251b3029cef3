"""Scoring a run: every system on every task, and which differences are more than chance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronspec.config import Config
from neuronspec.data.text import Texts
from neuronspec.evaluation.metrics import METRICS, Metric
from neuronspec.evaluation.quality import assess
from neuronspec.evaluation.significance import holm, paired_approximate_randomization
from neuronspec.files import publish
from neuronspec.languages import split_direction
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.work import read_side
from neuronspec.progress import show_progress

COPY = "source"  # the system that copies its input
SCORES_FILE = "scores.jsonl"
COMPARISONS_FILE = "comparisons.jsonl"
QUALITY_FILE = "quality.jsonl"
FINE_TUNE = "fine_tune"

Statistics = dict[tuple[str, str, str], NDArray[np.float64]]  # (metric, system, task) -> (sentences, S)


@dataclass(frozen=True)
class SystemScore:
    """A score of a system on the test text of a task."""

    system: str
    task: str
    metric: str
    score: float
    signature: str
    sentences: int


@dataclass(frozen=True)
class SystemComparison:
    """Whether a system differs from a baseline on a set of tasks (`tasks` names one task or a group)."""

    baseline: str
    system: str
    tasks: str
    metric: str
    difference: float
    p_value: float
    adjusted_p_value: float
    test: str
    trials: int


@dataclass(frozen=True)
class SystemQuality:
    """What no metric shows of a system on the test text of a task: shares of broken translations, 0..1."""

    system: str
    task: str
    sentences: int
    identified: int
    off_target: float | None
    off_target_references: float | None
    empty: float
    copied: float
    repeated: float
    over_long: float


def score(config: Config, layout: Layout, systems: Sequence[str]) -> None:
    """Score every system on every task and compare each with what it should be compared with.

    Args:
        config: the configuration.
        layout: where the translations are.
        systems: their names.
    """
    texts = Texts.load(layout.text)
    statistics: Statistics = {}
    scores: list[SystemScore] = []
    qualities: list[SystemQuality] = []
    with show_progress("scoring", len(config.directions()) * (len(systems) + 1)) as advance:
        for task in config.directions():
            sources, references = (read_side(texts, config, task, source=source) for source in (True, False))
            target = split_direction(task)[1]
            for system in [COPY, *systems]:
                hypotheses = (
                    sources
                    if system == COPY
                    else (layout.translations(system) / f"{task}.txt").read_text(encoding="utf-8").split("\n")[:-1]
                )
                found = asdict(assess(hypotheses, sources, references, target))
                kept = {field.name: found[field.name] for field in fields(SystemQuality) if field.name in found}
                qualities.append(SystemQuality(system, task, **kept))
                for name in config.evaluation.metrics:
                    metric = METRICS[name]
                    rows = metric.statistics(hypotheses, references, target)
                    statistics[name, system, task] = rows
                    value = float(metric.score(rows.sum(0)))
                    signature = metric.signature(target)
                    scores.append(SystemScore(system, task, metric.name, value, signature, len(rows)))
                advance()
    comparisons = list(compare(config, statistics, choose_baselines(systems)))
    with publish(layout.scores) as temporary:
        temporary.mkdir()
        _write_lines(temporary / SCORES_FILE, scores)
        _write_lines(temporary / COMPARISONS_FILE, comparisons)
        _write_lines(temporary / QUALITY_FILE, qualities)


def choose_baselines(systems: Iterable[str]) -> dict[str, list[str]]:
    """Return what each system is compared with: the pretrained model, and plain fine-tuning for other methods.

    Example:
        >>> choose_baselines(["pretrained", "pretrained+masks", "fine_tune", "neuron_specialization"])
        {'pretrained+masks': ['pretrained'], 'fine_tune': ['pretrained'], 'neuron_specialization': \
['pretrained', 'fine_tune']}
    """
    names = list(systems)
    return {
        system: [PRETRAINED]
        + ([FINE_TUNE] if FINE_TUNE in names and system != FINE_TUNE and not system.startswith(PRETRAINED) else [])
        for system in names
        if system != PRETRAINED
    }


def group_tasks(config: Config) -> dict[str, list[str]]:
    """Return the groups that scores are averaged over: tasks from the pivot, to it, and the others."""
    groups: dict[str, list[str]] = {f"from {config.pivot}": [], f"to {config.pivot}": [], "other": []}
    for task in config.directions():
        source, target = split_direction(task)
        groups[
            f"from {config.pivot}"
            if source == config.pivot
            else f"to {config.pivot}"
            if target == config.pivot
            else "other"
        ].append(task)
    return {name: tasks for name, tasks in groups.items() if tasks}


def compare(config: Config, statistics: Statistics, baselines: dict[str, list[str]]) -> Iterator[SystemComparison]:
    """Yield the comparisons of each system with its baselines, on groups of tasks and on each task.

    P-values are corrected by Holm's method within a family: the groups of one pair of systems and metric, and the
    single tasks of one.
    """
    groups = group_tasks(config)
    singles = {task: [task] for task in config.directions()}
    for name in config.evaluation.metrics:
        for system, others in baselines.items():
            for baseline in others:
                for family in (groups, singles):
                    yield from _compare_family(config, statistics, METRICS[name], name, baseline, system, family)


def _compare_family(
    config: Config,
    statistics: Statistics,
    metric: Metric,
    name: str,
    baseline: str,
    system: str,
    family: dict[str, list[str]],
) -> Iterator[SystemComparison]:
    tests = {
        label: paired_approximate_randomization(
            [statistics[name, baseline, task] for task in tasks],
            [statistics[name, system, task] for task in tasks],
            metric.score,
            config.evaluation.trials,
            config.seed,
        )
        for label, tasks in family.items()
    }
    adjusted = holm([test.p_value for test in tests.values()])
    for (label, test), corrected in zip(tests.items(), adjusted, strict=True):
        yield SystemComparison(
            baseline,
            system,
            label,
            metric.name,
            test.difference,
            test.p_value,
            float(corrected),
            test.test,
            test.trials,
        )


def load_scores(layout: Layout) -> list[SystemScore]:
    """Read the scores of a run."""
    return [SystemScore(**line) for line in _read_lines(layout.scores / SCORES_FILE)]


def load_comparisons(layout: Layout) -> list[SystemComparison]:
    """Read the comparisons of a run."""
    return [SystemComparison(**line) for line in _read_lines(layout.scores / COMPARISONS_FILE)]


def load_qualities(layout: Layout) -> list[SystemQuality]:
    """Read what no metric shows of a run."""
    return [SystemQuality(**line) for line in _read_lines(layout.scores / QUALITY_FILE)]


def _write_lines(path: Path, rows: Iterable[Any]) -> None:
    path.write_text("".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
