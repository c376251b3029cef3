"""The report of a run: figures, tables, and what the numbers say in plain words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np

from neuronspec.analysis.gallery import choose_panel, draw_figures
from neuronspec.analysis.tree import language_tree
from neuronspec.config import Config
from neuronspec.data.text import Texts
from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.tables import Cell, Table
from neuronspec.files import publish, read_json, write_json, write_text
from neuronspec.languages import split_direction
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.storage import MASKS_FILE
from neuronspec.pipeline import scoring, work
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.scoring import SystemComparison, SystemQuality, SystemScore

OVERLAP_FILE = "overlap.json"
SUMMARY_FILE = "summary.md"
AVERAGES_FILE = "averages"
COSTS_FILE = "costs"
DIRECTIONS_FILE = "directions"
QUALITY_FILE = "quality"

_TITLES = {
    scoring.COPY: "copying the source",
    PRETRAINED: "pretrained",
    work.MASKED: "+ specialised masks",
    work.RANDOM: "+ random masks",
    "fine_tune": "fine-tuned",
    "neuron_specialization": "neuron specialization",
    "random_neurons": "random neurons",
}


@dataclass(frozen=True)
class Results:
    """Everything a report tells of a run."""

    config: Config
    systems: list[str]
    scores: list[SystemScore]
    comparisons: list[SystemComparison]
    qualities: list[SystemQuality]
    summaries: dict[str, dict[str, float]]
    masks: NeuronMasks | None
    trained_masks: dict[str, NeuronMasks]

    def score(self, system: str, metric: str, tasks: Sequence[str]) -> float:
        """Return a system's mean score over tasks."""
        return fmean(self._scores[system, metric, task] for task in tasks)

    @cached_property
    def _scores(self) -> dict[tuple[str, str, str], float]:
        return {(score.system, score.metric, score.task): score.score for score in self.scores}

    def comparison(self, system: str, metric: str, tasks: str, baseline: str | None = None) -> SystemComparison | None:
        """Return the comparison of a system on a task or group, with the baseline that its marks refer to."""
        against = baseline or scoring.choose_baselines(self.systems).get(system, [""])[-1]
        for one in self.comparisons:
            if (one.system, one.metric, one.tasks, one.baseline) == (system, metric, tasks, against):
                return one
        return None

    def mark(self, system: str, metric: str, tasks: str) -> str:
        """Return `↑` or `↓` where a system differs significantly from the baseline of its marks."""
        one = self.comparison(system, metric, tasks)
        if one is None or one.adjusted_p_value >= self.config.evaluation.significance:
            return ""
        return "↑" if self.gain(one) > 0 else "↓"

    def gain(self, comparison: SystemComparison) -> float:
        """Return by how much a system is better, whatever the direction of the metric."""
        metric = next(metric for metric in METRICS.values() if metric.name == comparison.metric)
        return comparison.difference if metric.higher_is_better else -comparison.difference

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics."""
        return list(dict.fromkeys(score.metric for score in self.scores))


def load_results(config: Config, layout: Layout, systems: Sequence[str]) -> Results:
    """Read the results of a run whose scores are done."""
    trained = [system for system in systems if system in (PRETRAINED, *config.methods)]
    own = {system: layout.model(system) for system in trained if (layout.model(system) / MASKS_FILE).is_file()}
    return Results(
        config,
        list(systems),
        scoring.load_scores(layout),
        scoring.load_comparisons(layout),
        scoring.load_qualities(layout),
        {system: work.read_summary(layout, system) for system in trained},
        NeuronMasks.from_pretrained(layout.masks) if work.MASKED in systems else None,
        {system: NeuronMasks.from_pretrained(directory) for system, directory in own.items()},
    )


def draw(config: Config, layout: Layout) -> None:
    """Draw the figures of the masks and keep the numbers that the report speaks of."""
    masks = NeuronMasks.from_pretrained(layout.masks)
    with publish(layout.figures) as temporary:
        temporary.mkdir()
        overlap = draw_figures(masks, temporary, config.pivot)
        # JSON knows no nan: families that do not exist have no number.
        numbers = {layer: [None if np.isnan(value) else value for value in pair] for layer, pair in overlap.items()}
        write_json(temporary / OVERLAP_FILE, numbers)


def write(config: Config, layout: Layout, systems: Sequence[str]) -> None:
    """Write the tables and the summary of a run."""
    results = load_results(config, layout, systems)
    averages, costs, directions = tabulate_averages(results), tabulate_costs(results), tabulate_directions(results)
    quality = tabulate_quality(results)
    signatures = sorted({f"{score.metric}: `{score.signature}`" for score in results.scores})
    paragraphs = [
        f"# {config.name}",
        " ".join(describe_run(results, layout)),
        averages.to_markdown(),
        costs.to_markdown(),
        quality.to_markdown(),
        "\n".join(f"- {finding}" for finding in describe_findings(results, layout)),
        directions.to_markdown(),
        "Signatures: " + "; ".join(signatures),
        "The configuration is in `stages/config.yaml`, figures are in `figures/`, scores and tests in `scores/`.",
    ]
    with publish(layout.report) as temporary:
        temporary.mkdir()
        write_text(temporary / SUMMARY_FILE, "\n\n".join(paragraphs) + "\n")
        tables = {AVERAGES_FILE: averages, COSTS_FILE: costs, QUALITY_FILE: quality, DIRECTIONS_FILE: directions}
        for name, table in tables.items():
            write_text(temporary / f"{name}.csv", table.to_csv())
            write_text(temporary / f"{name}.json", json.dumps(table.to_json(), indent=2) + "\n")


def tabulate_averages(results: Results) -> Table:
    """Return the table of average scores and of sparsity: a row a system."""
    groups = scoring.group_tasks(results.config)
    header = ["system", *(f"{metric} {group}" for group in groups for metric in results.metrics)]
    header += ["sparsity %"]
    rows = []
    for system in [scoring.COPY, *results.systems]:
        row = [Cell(_title(system))]
        row += [
            Cell(results.score(system, metric, tasks), mark=results.mark(system, metric, group))
            for group, tasks in groups.items()
            for metric in results.metrics
        ]
        rows.append([*row, Cell(_sparsity(results, system))])
    level = results.config.evaluation.significance
    return Table(
        f"{results.config.name}: averages over directions",
        header,
        rows,
        [
            f"↑ ↓: better or worse than the pretrained model (for methods other than fine-tuning: than fine-tuning), "
            f"paired approximate randomisation, {results.config.evaluation.trials:,} trials, "
            f"p < {level} after Holm's correction. '+ masks': the pretrained model, never trained with them; the "
            "random ones are of the same sizes."
        ],
    )


def tabulate_costs(results: Results) -> Table:
    """Return the table of what each training took and added: a row a training."""
    rows = [
        [
            Cell(_title(system)),
            Cell(summary["update"], 0),
            Cell(summary["target_tokens"], 0),
            Cell(summary["seconds"], 0),
            Cell(summary["parameters_added"], 0),
            Cell(summary["mask_bytes"], 0),
        ]
        for system, summary in results.summaries.items()
    ]
    header = ["training", "updates", "target tokens", "seconds", "parameters added", "mask bytes"]
    return Table(f"{results.config.name}: cost", header, rows)


def tabulate_quality(results: Results) -> Table:
    """Return the table of what no metric shows, in percent of all test sentences: a row a system."""
    kinds = ("empty", "copied", "repeated", "over_long")
    rows = []
    for system in [scoring.COPY, *results.systems]:
        own = [quality for quality in results.qualities if quality.system == system]
        total = sum(quality.sentences for quality in own)
        judged = [quality for quality in own if quality.off_target is not None]
        identified = sum(quality.identified for quality in judged)
        off_target = sum(quality.identified * (quality.off_target or 0) for quality in judged)
        cells = [Cell(100 * off_target / identified if identified else None), Cell(identified, 0)]
        cells += [Cell(100 * sum(q.sentences * getattr(q, kind) for q in own) / total) for kind in kinds]
        rows.append([Cell(_title(system)), *cells])
    header = ["system", "off-target %", "of sentences", "empty %", "copied %", "repeated %", "over-long %"]
    return Table(
        f"{results.config.name}: translations that are broken",
        header,
        rows,
        ["Off-target: in another language, of those that are long enough to tell (40 letters)."],
    )


def tabulate_directions(results: Results) -> Table:
    """Return the table of the scores of every direction: a row a direction and metric."""
    systems = [scoring.COPY, *results.systems]
    rows = []
    for task in results.config.directions():
        for metric in results.metrics:
            cells = [Cell(results.score(s, metric, [task]), mark=results.mark(s, metric, task)) for s in systems]
            rows.append([Cell(task), Cell(metric), *cells])
    header = ["direction", "metric", *(_title(system) for system in systems)]
    return Table(f"{results.config.name}: every direction", header, rows)


def describe_run(results: Results, layout: Layout) -> list[str]:
    """Say in sentences what was trained on what."""
    texts = Texts.load(layout.text)
    base = results.summaries[PRETRAINED]
    train, test = (sum(texts.sizes[part].values()) for part in ("train", "test"))
    languages = len({language for pair in texts.sizes["train"] for language in split_direction(pair)})
    sentences = [
        f"One model of {base['parameters']:,.0f} parameters for {len(results.config.directions())} translation "
        f"directions between {languages} languages, trained for {base['update']:,.0f} updates on {train:,} sentence "
        f"pairs and tested on {test:,} others."
    ]
    methods = [name for name in results.summaries if name != PRETRAINED]
    if methods:
        updates = {results.summaries[name]["update"] for name in methods}
        sentences.append(
            f"It was then trained for {' / '.join(f'{count:,.0f}' for count in sorted(updates))} more updates, from "
            f"the same weights and with the same batches, in {len(methods)} way{'s' * (len(methods) > 1)}: "
            f"{', '.join(_title(name) for name in methods)}."
        )
    return sentences


def describe_findings(results: Results, layout: Layout) -> list[str]:
    """Say in sentences what the numbers show, and what they do not."""
    findings = []
    metric = results.metrics[0]
    groups = scoring.group_tasks(results.config)
    if results.masks is not None:
        findings += _describe_masks(results, layout)
    if work.MASKED in results.systems:
        averages = {
            system: fmean(results.score(system, metric, tasks) for tasks in groups.values())
            for system in (PRETRAINED, work.MASKED, work.RANDOM)
        }
        losses = [averages[system] - averages[PRETRAINED] for system in (work.MASKED, work.RANDOM)]
        better = next(one for one in METRICS.values() if one.name == metric).higher_is_better
        means = "the selection means something" if (losses[1] < losses[0]) == better else "no sign that it matters"
        findings.append(
            f"Before any training, switching off the neurons that were not selected changes the mean {metric} by "
            f"{losses[0]:+.1f}; switching off as many at random by {losses[1]:+.1f}: {means}."
        )
    for system in results.summaries:
        findings += [_describe_difference(results, system, metric, group) for group in groups if system != PRETRAINED]
    findings.append(
        "One seed and one test set: the tests say whether other sentences would show the same, not whether another "
        "training would. Repeat with seed=2, seed=3 before believing a small difference."
    )
    return findings


def _describe_difference(results: Results, system: str, metric: str, group: str) -> str:
    one = results.comparison(system, metric, group)
    assert one is not None
    title, baseline = (_title(name) for name in (system, one.baseline))
    numbers = f"{one.difference:+.1f} {metric}, p = {one.adjusted_p_value:.2g}"
    if one.adjusted_p_value >= results.config.evaluation.significance:
        return (
            f"Translating {group}: no difference between {title} and {baseline} that could not be chance ({numbers})."
        )
    return (
        f"Translating {group}: {title} is {'better' if results.gain(one) > 0 else 'worse'} than {baseline} ({numbers})."
    )


def _describe_masks(results: Results, layout: Layout) -> list[str]:
    masks = results.masks
    assert masks is not None
    sparsity = {layer: 100 * float(np.mean(values)) for layer, values in masks.sparsity().items()}
    told = ", ".join(f"{layer} {value:.0f} %" for layer, value in sparsity.items())
    shares = [
        f"{100 * float(masks.signature[key]):g} %" for key in ("k.encoder", "k.decoder") if key in masks.signature
    ]
    rule = masks.signature["rule"]
    if rule == "coverage":
        which = f"cover {' / '.join(shares)} of the activation (encoder / decoder)"
    else:
        which = f"the rule {rule} selects"
    sentences = [f"The neurons that {which} leave so many off: {told}."]
    overlap = read_json(layout.figures / OVERLAP_FILE)
    known = {layer: pair for layer, pair in overlap.items() if None not in pair}
    if known:
        told = ", ".join(f"{layer} {within:.2f} / {across:.2f}" for layer, (within, across) in known.items())
        sentences.append(f"Mean overlap (IoU) of neurons within / across language families: {told}.")
    layer = [name for name in masks.layers if name.startswith("decoder")][-1]
    panel = choose_panel(masks.tasks, results.config.pivot, "decoder")
    if len(panel.tasks) > 2:
        tree = language_tree(masks.reorder(panel.tasks).iou(layer), panel.labels)
        sentences.append(f"The language tree of {layer}: `{tree.newick()}` (figures/tree.{layer}.svg).")
    return sentences


def _title(system: str) -> str:
    return _TITLES.get(system, system)


def _sparsity(results: Results, system: str) -> float | None:
    """Return the mean sparsity of a system in percent, None where it has no masks."""
    masks = results.masks if system in (work.MASKED, work.RANDOM) else results.trained_masks.get(system)
    if masks is None:
        return None
    return 100 * float(np.mean([values.mean() for values in masks.sparsity().values()]))
