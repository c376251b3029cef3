"""Comparison of systems from their translations alone, refused if it would not be fair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from neuronspec.comparison.study import Study, compare_study, make_study
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.evaluation.identifiers import DEFAULT_IDENTIFIER
from neuronspec.evaluation.metric import Metric, MetricOptions
from neuronspec.evaluation.outputs import Outputs
from neuronspec.evaluation.results import merge_results
from neuronspec.evaluation.task_scoring import ScoreSettings, TaskOutputs, score_tasks
from neuronspec.statistics.corrections import HOLM

Sentences = Sequence[str]
TestSets = Mapping[str, Sentences]  # by task


def compare(
    hypotheses: Mapping[str, Sentences | TestSets],
    references: Sentences | TestSets,
    task: str = "",
    *,
    baseline: str = "",
    metrics: Sequence[str | Metric] = ("bleu", "chrf"),
    sources: Sentences | TestSets | None = None,
    correction: str = HOLM,
    trials: int = 10_000,
    seed: int = 0,
    pivot: str = "en",
    sentencepiece: str | Path | None = None,
    comet_model: str | Path | None = None,
    identifier: str = DEFAULT_IDENTIFIER,
) -> Study:
    """Score several systems, and test which of them differ from a baseline (Section 5.3, Appendix A.4.2).

    The test is the paired approximate randomization, with confidence intervals by the paired bootstrap. Every system
    must have translated the same sentences of the same tasks: other comparisons are not fair, and are refused.

    Args:
        hypotheses: Detokenized translations of each system, by its name: a list of sentences, or lists by task.
        references: Detokenized references in the same order, in the same form.
        task: Direction of the translations (`en-de`), if they are lists of sentences.
        baseline: Name of the system that the others are compared with; by default the first.
        metrics: Names in `METRICS`, or metrics themselves.
        sources: Sentences that were translated, in the form of the references, for metrics that read them (COMET).
        correction: Correction of the p-values for their number: `none`, `holm` or `bh`.
        trials: Number of trials of the tests.
        seed: Seed of the random exchanges, 0 or more.
        pivot: Language that most directions have in common, for the averages over groups of directions.
        sentencepiece: SentencePiece model of the metric `spbleu`.
        comet_model: Model of the metric `comet`, by default COMET's usual one.
        identifier: Name of the language identifier that finds off-target translations, in `IDENTIFIERS`.

    Returns:
        The study: `study.comparison(system, metric, task)` has the difference, its p-value before and after the
        correction, and its 95 % confidence interval, for single directions and for groups (`"from en"`, `"all"`);
        `study.results` has the scores; `tabulate_all(study)` makes the tables.

    Raises:
        NeuronspecError: If there are fewer than two systems, a system lacks a task or sentences, the baseline, a
            metric or the correction is unknown, or something that a metric needs is missing.

    Example:
        >>> references = [f"The {animal} sees {n} dogs." for animal in ("cat", "cow", "hen") for n in range(9)]
        >>> worse = [text.replace("sees", "is") for text in references]
        >>> study = compare({"base": worse, "ours": references}, references, task="de-en", trials=1000)
        >>> test = study.comparison("ours", "chrF++", "de-en")
        >>> round(test.difference, 1), round(test.adjusted_p_value, 3), test.interval[0] > 0
        (38.1, 0.001, True)
        >>> study.mark("ours", "chrF++", "de-en")
        '↑'
    """
    baseline = baseline or next(iter(hypotheses), "")
    _check_systems(hypotheses, baseline)

    # Everything by task, and the same sentences for every system.
    wanted = _sort_by_task("the references", references, task)
    inputs = {} if sources is None else _sort_by_task("the sources", sources, task)
    systems = {system: _sort_by_task(system, texts, task) for system, texts in hypotheses.items()}

    for system, texts in systems.items():
        _check_fair(system, texts, wanted)
    if inputs:
        _check_fair("the list of sources", inputs, wanted)

    # All systems are scored on one task after the other, several tasks at the same time.
    settings = ScoreSettings(
        metrics=tuple(metrics),
        options=MetricOptions(sentencepiece=sentencepiece, comet_model=comet_model),
        identifier=identifier,
    )
    items = [_gather_task(name, systems, wanted[name], inputs.get(name)) for name in wanted]
    size = sum(len(text) for texts in systems.values() for sentences in texts.values() for text in sentences)
    results = merge_results(score_tasks(items, _give_back, settings, size=size))

    # The tests need only the statistics: all texts are scored once.
    by_system = merge_results(results.select(system) for system in systems)
    study = make_study(by_system, baseline, pivot=pivot, trials=trials, correction=correction)
    return compare_study(study, seed=seed)


def _gather_task(
    task: str, systems: Mapping[str, TestSets], references: Sentences, sources: Sentences | None
) -> TaskOutputs:
    """Return the translations of all systems for one task."""
    given = {
        system: Outputs(
            tuple(texts[task]),
            references=tuple(references),
            sources=None if sources is None else tuple(sources),
            name=system,
        )
        for system, texts in systems.items()
    }
    return TaskOutputs(task=task, systems=given)


def _give_back(outputs: TaskOutputs) -> TaskOutputs:
    """Return what was given: the translations are at hand."""
    return outputs


def _check_systems(systems: Iterable[str], baseline: str) -> None:
    """Refuse fewer than two systems, or a baseline that is not one of them."""
    names = list(systems)
    if len(names) < 2:
        found = ", ".join(names) or "none"
        raise NeuronspecError(f"expected two or more systems to compare, {{name: translations, ...}}; found {found}")
    if baseline not in names:
        raise NeuronspecError(
            f"no system {baseline!r}{did_you_mean(baseline, names)} to be the baseline; there are {', '.join(names)}"
        )


def _sort_by_task(name: str, texts: Sentences | TestSets, task: str) -> dict[str, Sentences]:
    """Return texts by task; a list of sentences belongs to the task that was given."""
    # A string is a sequence, too: its letters would be scored as sentences.
    if isinstance(texts, str):
        raise NeuronspecError(f"{name}: found one string, expected a list of sentences, or such lists by task")

    # Texts by task name their tasks; a list of sentences needs the task.
    if isinstance(texts, Mapping):
        if task:
            raise NeuronspecError(f"{name}: found texts by task, and the task {task!r} as well; leave the task out")
        return dict(texts)

    if not task:
        raise NeuronspecError(f'{name}: found a list of sentences; say what they are, such as task="en-de"')
    return {task: texts}


def _check_fair(name: str, texts: TestSets, references: TestSets) -> None:
    """Refuse texts of other tasks than the references', or of another number of sentences."""
    # The same tasks: averages over different ones cannot be compared.
    missing = [task for task in references if task not in texts]
    unknown = [task for task in texts if task not in references]
    if missing or unknown:
        found = f"lacks {', '.join(missing)}" if missing else f"has no references of {', '.join(unknown)}"
        raise NeuronspecError(f"{name} {found}: a fair comparison needs the same tasks for every system")

    # The same sentences: only their number can be checked here.
    for task, sentences in references.items():
        if len(texts[task]) != len(sentences):
            raise NeuronspecError(
                f"{name} has {len(texts[task])} sentences of {task}, but there are {len(sentences)} references: a fair "
                "comparison needs a translation of every sentence, in the same order"
            )
