"""The comparisons that a study's tables show, completed by those that nobody has made yet."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from neuronspec.comparison.study import Study, compare_study
from neuronspec.progress import show_progress


def complete_comparisons(
    study: Study, *, baseline: str | None = None, bilingual: str | None = None, seed: int | None = None, anew: bool
) -> Study:
    """Return a study with all comparisons that its tables show.

    Args:
        study: Results, and the comparisons that are known.
        baseline: Baseline that was asked for, in place of those of the known comparisons.
        bilingual: System of bilingual models, which is compared with every other system, too.
        seed: Seed of the tests; that of the known ones if not given.
        anew: Whether to make known comparisons again.
    """
    # Pairs of systems that were compared before are not compared again, unless this is wanted.
    known = () if anew else study.comparisons
    made = {(one.baseline, one.system) for one in known}
    missing = [pair for pair in list_pairs(study, baseline, bilingual) if pair not in made]
    if not missing:
        return study

    # New tests have the seed of the known ones, so that one seed repeats them all.
    if seed is None:
        seed = next((one.seed for one in known if one.seed is not None), 0)
    with show_progress("testing differences", len(missing) * len(study.results.metrics)) as advance:
        found = compare_study(study, missing, seed=seed, advance=advance)

    # P-values are corrected within a pair of systems, so new pairs do not change the known ones.
    return replace(found, comparisons=(*known, *found.comparisons))


def list_pairs(study: Study, baseline: str | None, bilingual: str | None) -> list[tuple[str, str]]:
    """Return the pairs of systems to compare, the baseline of each pair first.

    These are the pairs of the known comparisons. If there are none, or another baseline was asked for, they are the
    baseline with every other system. Bilingual models are compared with each of these systems as well.
    """
    systems = study.results.systems
    pairs = [] if baseline else [(one.baseline, one.system) for one in study.comparisons]
    if not pairs:
        pairs = [(study.baseline, system) for system in systems if system != study.baseline]

    # Without bilingual models, these are all; each pair comes once.
    if bilingual not in systems:
        return list(dict.fromkeys(pairs))

    # Every system of these pairs, the baselines included, is compared with the bilingual models as well.
    others = dict.fromkeys(chain(*pairs))
    others.pop(bilingual, None)
    return list(dict.fromkeys([*pairs, *((bilingual, system) for system in others)]))
