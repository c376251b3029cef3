"""Scoring one system on one test set, with metrics of every kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from pathlib import Path

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.comet import MODEL, Comet, CometMetric
from neuronspec.evaluation.metrics import Metric, check_references, check_score, find_metric
from neuronspec.evaluation.quality import assess
from neuronspec.evaluation.results import Results, SystemQuality, SystemScore
from neuronspec.files import hash_json
from neuronspec.languages import split_direction


@contextmanager
def open_metrics(
    names: Iterable[str], sentencepiece: str | Path | None = None, comet_model: str | Path = MODEL, cpu: bool = False
) -> Iterator[list[Metric]]:
    """Yield metrics by name; what they need, such as COMET's model, stays loaded meanwhile.

    Args:
        names: of `METRICS`, `spbleu`, or `comet`.
        sentencepiece: the model of `spbleu`.
        comet_model: the model of `comet`.
        cpu: whether `comet` must leave the GPU alone.

    Raises:
        NeuronspecError: a metric is unknown, or what it needs is missing.
    """
    names = list(dict.fromkeys(names))
    if sentencepiece is not None and "spbleu" not in names:
        raise NeuronspecError(f"{sentencepiece} is the model of the metric spbleu, which is not asked for")
    with ExitStack() as stack:
        yield [
            CometMetric.of(stack.enter_context(Comet(comet_model, device="cpu" if cpu else "auto")))
            if name == "comet"
            else find_metric(name, sentencepiece)
            for name in names
        ]


def score_task(
    system: str,
    task: str,
    hypotheses: Sequence[str],
    references: Sequence[str],
    metrics: Iterable[Metric],
    sources: Sequence[str] | None = None,
    zero_shot: bool = False,
) -> Results:
    """Score one system on the test set of one task.

    Args:
        system: what to call it; the name of a directory, too.
        task: the direction; its target chooses BLEU's tokenizer.
        hypotheses: the detokenized translations, one a sentence.
        references: the detokenized references in the same order.
        metrics: what to count.
        sources: the sentences that were translated; needed to tell copies, and by COMET.
        zero_shot: whether the system was not trained for the task.

    Returns:
        The results.

    Raises:
        NeuronspecError: there are no sentences or references, the numbers of lines differ, a score is no number, or the
            name cannot name a directory.
    """
    if not system or system in (".", "..") or "/" in system or "\\" in system:
        raise NeuronspecError(f"{system!r} cannot name a system: it names a directory, too; leave out slashes")
    target = split_direction(task)[1]
    check_references(references, f" of {task}")
    test_set = hash_json(list(references))[:16]
    found = asdict(assess(hypotheses, sources, references, target))
    kept = {one.name: found[one.name] for one in fields(SystemQuality) if one.name in found}
    scores, counted = [], {}
    for metric in metrics:
        rows = metric.statistics(hypotheses, references, target, sources)
        value = float(metric.score(rows.sum(axis=0)))
        check_score(value, metric.name, f" of {system} on {task}")
        signature = metric.signature(target)
        scores.append(SystemScore(system, task, metric.name, value, signature, len(rows), test_set, zero_shot))
        counted[metric.name] = rows
    return Results(tuple(scores), (SystemQuality(system, task, **kept),), {(system, task): counted})
