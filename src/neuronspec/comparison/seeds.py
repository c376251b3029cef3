"""Systems that differ only in the seed of their training: their mean, and their spread."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import product
from statistics import fmean, stdev

from neuronspec.comparison.cells import Cell
from neuronspec.comparison.groups import BY_SIDE
from neuronspec.comparison.study import Study
from neuronspec.comparison.tables import ColumnTitle, Table


def split_seed(system: str) -> tuple[str, int | None]:
    """Return a system's name without its seed, and the seed; None for the seed of the run.

    Example:
        >>> split_seed("fine_tune.seed2"), split_seed("fine_tune")
        (('fine_tune', 2), ('fine_tune', None))
    """
    found = re.fullmatch(r"(.+)\.seed(\d+)", system)
    return (found[1], int(found[2])) if found else (system, None)


def join_seed(base: str, seed: int | None) -> str:
    """Return the name of a system with a seed.

    Example:
        >>> join_seed("fine_tune", 2), join_seed("fine_tune", None)
        ('fine_tune.seed2', 'fine_tune')
    """
    return base if seed is None else f"{base}.seed{seed}"


def tabulate_seeds(study: Study, metric: str, baseline: str = "") -> Table:
    """Return the mean and the standard deviation over seeds, and the difference to a baseline with the same seeds.

    A test over sentences answers whether another test set would show the same; this table answers whether another
    training would. Compare Tables 12 and 13 of the paper.

    Args:
        study: Study with systems that differ only in their seed (`fine_tune`, `fine_tune.seed2`).
        metric: Display name of the metric.
        baseline: Name of the system to compare with, without its seed; by default the fine-tuned one of the study. If
            it has no second seed, the study's baseline.

    Returns:
        A row for each system with two seeds or more. The p-value is that of a t-test of the differences, seed by seed.
    """
    # Compare with fine-tuning over the same seeds if possible, or else with the one baseline.
    repeated = _find_repeated(study.results.systems)
    wanted = baseline or study.fine_tuned
    against = wanted if wanted in repeated else study.baseline

    rows = []
    for base, seeds in repeated.items():
        ours = [join_seed(base, seed) for seed in seeds]
        theirs = [against] * len(seeds)  # a baseline with one seed is compared with every seed of a system
        if against in repeated:
            theirs = [join_seed(against, seed) for seed in seeds]

        # For each side: mean and spread, then the difference to the baseline and its p-value.
        row = [Cell(study.title(base)), Cell(len(seeds), 0)]
        for tasks in study.families[BY_SIDE].values():
            scores = [study.results.score(system, metric, tasks) for system in ours]
            others = [study.results.score(system, metric, tasks) for system in theirs]
            row += [Cell(fmean(scores), 2), Cell(stdev(scores), 2), *_compare_seeds(scores, others)]
        rows.append(row)

    # Each side has the same four columns.
    title = study.title(against)
    header: list[ColumnTitle] = ["system", "seeds"]
    header += product(study.families[BY_SIDE], ["mean", "sd", f"- {title}", "p"])
    note = f"p: a t-test of the differences to {title}, seed by seed, uncorrected. Few seeds show large effects only."
    return Table(f"{metric} over seeds", header, rows, notes=[note])


def _find_repeated(systems: Iterable[str]) -> dict[str, list[int | None]]:
    """Return the seeds of each system that has several, by its name without a seed."""
    seeds: dict[str, list[int | None]] = {}
    for system in systems:
        base, seed = split_seed(system)
        seeds.setdefault(base, []).append(seed)
    return {base: own for base, own in seeds.items() if len(own) > 1}


def _compare_seeds(scores: Sequence[float], others: Sequence[float]) -> list[Cell]:
    """Return the mean difference over the seeds that both have, and the p-value of a t-test; nothing for itself."""
    # Seeds that the baseline lacks cannot be paired.
    known = []
    for score, other in zip(scores, others, strict=True):
        if not math.isnan(other):
            known.append(score - other)
    if not any(known):
        return [Cell(None), Cell(None)]

    from scipy.stats import ttest_1samp  # takes half a second to import, and few studies have several seeds

    # The t-test needs two differences that are not the same.
    is_varied = len(known) > 1 and stdev(known) > 0
    p_value = float(ttest_1samp(known, 0).pvalue) if is_varied else None
    return [Cell(fmean(known), 2, signed=True), Cell(p_value, 3)]
