"""Systems that differ in nothing but the seed of their training: their mean, and how far they are apart."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from statistics import fmean, stdev

from neuronspec.comparison.study import FINE_TUNE, SIDES, Study
from neuronspec.comparison.tables import Cell, Table, Title


def split_seed(system: str) -> tuple[str, int | None]:
    """Return a system's name without its seed, and the seed; None for that of the run.

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


def tabulate_seeds(study: Study, metric: str, baseline: str = FINE_TUNE) -> Table:
    """Return the mean and the standard deviation over seeds, and the difference to a baseline with the same seeds.

    A test over sentences says whether another test set would show the same; this says whether another training would.
    Compare Tables 12 and 13 of the paper.

    Args:
        study: with systems that differ in their seed alone (`fine_tune`, `fine_tune.seed2`).
        metric: the display name.
        baseline: the base of the systems to compare with; the study's where there is no such system.

    Returns:
        A row a system with two seeds or more. The p-value is of a t-test of the differences, seed by seed.
    """
    seeds: dict[str, list[int | None]] = {}
    for system in study.results.systems:
        base, seed = split_seed(system)
        seeds.setdefault(base, []).append(seed)
    repeated = {base: own for base, own in seeds.items() if len(own) > 1}
    against = baseline if baseline in repeated else study.baseline
    rows = []
    for base, own in repeated.items():
        row = [Cell(study.title(base)), Cell(len(own), 0)]
        for tasks in study.families[SIDES].values():
            scores = [study.results.score(join_seed(base, seed), metric, tasks) for seed in own]
            others = [
                study.results.score(join_seed(against, seed if against in repeated else None), metric, tasks)
                for seed in own
            ]
            row += [Cell(fmean(scores), 2), Cell(stdev(scores), 2), *_compare(scores, others)]
        rows.append(row)
    title = study.title(against)
    columns = ("mean", "sd", f"- {title}", "p")
    header: list[Title] = ["system", "seeds"]
    header += [(group, column) for group in study.families[SIDES] for column in columns]
    note = f"p: a t-test of the differences to {title}, seed by seed, uncorrected. Few seeds show large effects only."
    return Table(f"{metric} over seeds", header, rows, [note])


def _compare(scores: Sequence[float], others: Sequence[float]) -> list[Cell]:
    """Return the mean difference over the seeds that both have, and the p-value of a t-test; nothing for itself."""
    known = [score - other for score, other in zip(scores, others, strict=True) if not math.isnan(other)]
    if not any(known):
        return [Cell(None), Cell(None)]
    from scipy.stats import ttest_1samp  # half a second, and few studies have several seeds

    varied = len(known) > 1 and stdev(known) > 0
    p_value = float(ttest_1samp(known, 0).pvalue) if varied else None
    return [Cell(fmean(known), 2, signed=True), Cell(p_value, 3)]
