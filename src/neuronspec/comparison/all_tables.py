"""All tables of a study, by names for their files."""

from __future__ import annotations

import re

from neuronspec.comparison.cost_table import tabulate_efficiency
from neuronspec.comparison.detail_tables import tabulate_directions, tabulate_outcomes, tabulate_significance
from neuronspec.comparison.paper_tables import (
    tabulate_languages,
    tabulate_levels,
    tabulate_thresholds,
    tabulate_zero_shot,
)
from neuronspec.comparison.quality_table import tabulate_quality
from neuronspec.comparison.score_rows import list_study_languages
from neuronspec.comparison.study import Study
from neuronspec.comparison.tables import Table, name_tables

SIGNIFICANCE = "significance"  # the tables of all tests, too long for a terminal unless asked for
MAX_LANGUAGES = 16  # that fit as columns on a page


def name_table(kind: str, metric: str) -> str:
    """Return the name of a table of one metric, and of its files.

    Example:
        >>> name_table("levels", "chrF++")
        'levels.chrf++'
    """
    return f"{kind}.{re.sub(r'[^a-z0-9+]+', '_', metric.lower())}"


def tabulate_all(study: Study) -> dict[str, Table]:
    """Return every table of one study that it has the data for, by a name for its files.

    Languages have columns of their own up to `MAX_LANGUAGES`; thresholds are for metrics on the scale of BLEU.
    """
    metrics = study.results.metrics
    tables: dict[str, Table] = {}

    # Tables of one metric each. With more languages than fit on a page, only averages are shown.
    if len(list_study_languages(study)) <= MAX_LANGUAGES:
        tables |= {name_table("languages", metric): tabulate_languages(study, metric) for metric in metrics}
    tables |= {name_table("levels", metric): tabulate_levels(study, metric) for metric in metrics}
    tables |= {name_table("zero_shot", metric): tabulate_zero_shot(study, metric) for metric in metrics}

    # The limits of 5 and 10 points are meant for the scale of BLEU.
    for metric in metrics:
        if metric.endswith("BLEU"):
            tables[name_table("thresholds", metric)] = tabulate_thresholds(study, metric)

    # Tables of all metrics together
    tables["efficiency"] = tabulate_efficiency(study)
    tables["outcomes"] = tabulate_outcomes(study)
    tables["quality"] = tabulate_quality(study)
    tables["directions"] = tabulate_directions(study)
    return _without_empty_tables(tables)


def tabulate_tests(study: Study) -> dict[str, Table]:
    """Return the tables of all tests, one for each metric, by a name for their files."""
    metrics = study.results.metrics
    return _without_empty_tables({name_table(SIGNIFICANCE, one): tabulate_significance(study, one) for one in metrics})


def _without_empty_tables(tables: dict[str, Table]) -> dict[str, Table]:
    # Such as that of zero-shot directions, in a study where all were trained.
    return name_tables({name: table for name, table in tables.items() if table.rows})
