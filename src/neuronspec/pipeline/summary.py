"""The summary of a run: what was done and what the numbers say, in plain words, and the files it is written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neuronspec.comparison.detail_tables import tabulate_directions
from neuronspec.comparison.groups import ALL, BY_SIDE
from neuronspec.comparison.seeds import split_seed
from neuronspec.comparison.study import Study
from neuronspec.comparison.tables import Table, write_tables
from neuronspec.config.schema import Config
from neuronspec.data.store import TokenStore
from neuronspec.data.texts import Texts, assign_pairs
from neuronspec.evaluation.metrics import find_scoring
from neuronspec.files import publish, write_text
from neuronspec.languages import split_direction
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.neuron_analysis import REPORT_FILE
from neuronspec.pipeline.run_page import read_analysis, write_page
from neuronspec.pipeline.run_results import TABLES, RunResults, load_results, tabulate, tabulate_averages
from neuronspec.pipeline.systems import COPY, MASKED, RANDOM
from neuronspec.report.page_numbers import choose_overall
from neuronspec.report.score_findings import describe_difference, describe_gains
from neuronspec.statistics.numbers import show_change, show_number

# Name of the summary's file, below the directory of the report
SUMMARY_FILE = "summary.md"
SHOWN = ("averages", "seeds", "efficiency", "quality")  # in the summary and on the terminal


def write_summary(config: Config, layout: Layout) -> None:
    """Write the tables, in every format, the summary and the page of a run."""
    # Everything is read and computed before anything is written.
    report = load_results(config, layout)
    tables, about = tabulate(report), " ".join(describe_run(report, layout))

    # Tables that are read together have arrows that mean the same.
    read = tables | mark_alike(report)
    main = choose_shown(read)
    shown = {**main, "directions": read["directions"]}

    # The most important first: averages, findings, then direction by direction.
    paragraphs = [
        f"# {config.name}",
        about,
        *(table.to_markdown() for table in main.values()),
        "\n".join(f"- {finding}" for finding in describe_findings(report, layout)),
        shown["directions"].to_markdown(),
        "Signatures: " + "; ".join(report.study.results.signatures),
        f"All of this, and the neurons to explore, is in `report/{REPORT_FILE}`. The configuration is in "
        "`stages/config.yaml`, figures are in `analyze/figures/` and `report/figures/`, scores and tests in `score/`, "
        f"all tables as Markdown, CSV, LaTeX and JSON in `report/{TABLES}/`.",
    ]

    # The page shows the same tables as the summary.
    with publish(layout.report) as temporary:
        write_text(temporary / SUMMARY_FILE, "\n\n".join(paragraphs) + "\n")
        write_tables(tables, temporary / TABLES)
        write_page(
            report,
            layout,
            tables=shown,
            findings=describe_scores(report),
            highlights=highlight_scores(report),
            about=about,
            directory=temporary,
        )


def choose_shown(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Return the tables that a summary shows."""
    # In the order of SHOWN; a table of one metric is named `kind.metric`.
    return {name: tables[name] for kind in SHOWN for name in tables if name.partition(".")[0] == kind}


def mark_alike(report: RunResults) -> dict[str, Table]:
    """Return the tables of averages and of directions with arrows against one system: see `RunResults.rival`."""
    rival = report.rival
    return {
        "averages": tabulate_averages(report, rival),
        "directions": tabulate_directions(report.study.against(rival)),
    }


def describe_run(report: RunResults, layout: Layout) -> list[str]:
    """Say in sentences what was trained on what."""
    # Facts of the data and of the pretraining
    texts = Texts.load(layout.text)
    base = report.study.costs[PRETRAINED]
    train, test = (sum(texts.sizes[part].values()) for part in ("train", "test"))
    languages = len({language for pair in texts.sizes["train"] for language in split_direction(pair)})

    sentences = [
        f"One model of {base.parameters:,} parameters for {len(report.config.directions())} translation "
        f"directions between {languages} languages, {_describe_training(report, layout, pairs=train)}, and tested on "
        f"{test:,} other pairs."
    ]

    # What the methods have in common, in one sentence
    methods = [name for name in report.trained if name != PRETRAINED]
    if methods:
        updates = {report.study.costs[name].updates or 0 for name in methods}
        sentences.append(
            f"It was then trained for {' / '.join(f'{count:,}' for count in sorted(updates))} more updates, from "
            f"the same weights and with the same batches, in {len(methods)} way{'s' * (len(methods) > 1)}: "
            f"{', '.join(report.study.title(name) for name in methods)}."
        )
    return sentences


def _describe_training(report: RunResults, layout: Layout, *, pairs: int) -> str:
    """Say how long the model was trained on how much text, and how much of it the training has seen."""
    cost = report.study.costs[PRETRAINED]
    if not cost.updates or cost.target_tokens is None:
        return "used as it is, without training"

    # Every direction reads its pairs: all target tokens together are one pass over the text.
    store = TokenStore(layout.tokens("train"))
    sides = assign_pairs(report.config.directions(), report.config.pivot).values()
    whole = sum(int(store.lengths(pair, side)[:, 1].sum()) for pair, side in sides)

    passes = cost.target_tokens / max(1, whole)
    share = f"of which it saw about {show_number(100 * passes)} %"
    times = f"which it saw about {show_number(passes)} times on average"
    return f"trained for {cost.updates:,} updates on {pairs:,} sentence pairs, {times if passes >= 1 else share}"


def describe_findings(report: RunResults, layout: Layout) -> list[str]:
    """Say in sentences what the scores and the neurons show, and what they do not."""
    return [*describe_scores(report), *(finding["text"] for finding in read_analysis(layout).get("summary", []))]


def describe_scores(report: RunResults) -> list[str]:
    """Say in sentences what the scores show, and what they do not."""
    findings = []
    study = report.study
    metric = study.results.metrics[0]

    # Models that have learned nothing come first: nothing else that is found about them means much.
    findings += _warn_of_copying(report, metric)

    # The untrained model is next: the selection is judged apart from any training.
    if MASKED in report.masks:
        findings.append(_describe_selection(study, metric))

    # Then each trained system against its baseline; the first one is the pretrained model itself.
    for system in report.trained[1:]:
        findings += describe_gains(study, system, report.baseline(system), metric)

    if any(split_seed(system)[1] is not None for system in report.trained):
        return findings

    # A caution for runs with one seed; where there are several, their table shows how much they differ.
    findings.append(
        "One seed and one test set: the tests say whether other sentences would show the same, not whether another "
        "training would. Repeat with seed=[1,2,3] before believing a small difference."
    )
    return findings


def highlight_scores(report: RunResults) -> list[str]:
    """Return the sentences about the scores that the page begins with."""
    metric = report.study.results.metrics[0]
    system = report.main
    label, _ = choose_overall(report.study)

    difference = describe_difference(report.study, system, report.baseline(system), metric=metric, group=label)
    return [one for one in (*_warn_of_copying(report, metric), difference) if one]


def _warn_of_copying(report: RunResults, metric: str) -> list[str]:
    """Say that the models have learned nothing, where that is so."""
    if _beats_copying(report.study, report.trained, metric):
        return []
    return [
        f"No system translates better than copying the source does ({metric}): the models are trained too little "
        "for conclusions about methods. Train longer (train.updates, continued.updates), or on more text."
    ]


def _beats_copying(study: Study, trained: Sequence[str], metric: str) -> bool:
    """Return whether a trained system has a better mean score over all directions than the copied sources have."""
    if COPY not in study.results.systems:
        return True

    # From here on, more is better, whatever the metric.
    sign = 1 if find_scoring(metric).higher_is_better else -1
    tasks = [task for group in study.families[BY_SIDE].values() for task in group]
    best = max(sign * study.results.score(system, metric, tasks) for system in trained)
    return not best <= sign * study.results.score(COPY, metric, tasks)  # a score that is missing proves nothing


def _describe_selection(study: Study, metric: str) -> str:
    """Say whether the selected neurons matter more than as many random ones, before any training."""
    # The mean over the directions of all groups
    tasks = [task for group in study.families[BY_SIDE].values() for task in group]
    scores = {one: study.results.score(one, metric, tasks) for one in (PRETRAINED, MASKED, RANDOM)}
    losses = [scores[one] - scores[PRETRAINED] for one in (MASKED, RANDOM)]

    changes = (
        f"Before any training, switching off the neurons that were not selected changes the mean {metric} by "
        f"{show_change(losses[0])}; switching off as many at random by {show_change(losses[1])}"
    )

    # The test compares the selected neurons with random ones, not with the full model.
    one = study.comparison(MASKED, metric, ALL, RANDOM)
    if one is None:
        return f"{changes}."

    if one.adjusted_p_value > study.significance:
        means = "no significant difference"
    else:
        means = "the selected neurons matter" if one.gain > 0 else "the random ones did less harm"
    return f"{changes}: {means} (p = {one.adjusted_p_value:.2g})."
