"""Scoring the translations of one system: a list of sentences, or the test set of a task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from neuronspec.data.normalization import is_empty
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.identifiers import DEFAULT_IDENTIFIER
from neuronspec.evaluation.metric import Metric, MetricOptions
from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.outputs import Outputs
from neuronspec.evaluation.quality import OFF_TARGET, assess_each
from neuronspec.evaluation.results import Results, SystemQuality, SystemScore, hash_test_set
from neuronspec.languages import split_direction
from neuronspec.names import check_names


@dataclass(frozen=True)
class Score:
    """One metric's score of one set of translations.

    Attributes:
        metric: Display name of the metric (`"BLEU"`).
        value: Corpus score, 0..100 (TER can exceed 100).
        signature: Signature of the metric, which says how the score was computed; report it with the score.
        sentences: Number of sentences that were scored.
    """

    metric: str
    value: float
    signature: str
    sentences: int


def score(
    hypotheses: Sequence[str],
    references: Sequence[str],
    language: str,
    metrics: Sequence[str | Metric] = ("bleu", "chrf"),
    *,
    sources: Sequence[str] | None = None,
    sentencepiece: str | Path | None = None,
    comet_model: str | Path | None = None,
) -> list[Score]:
    """Score a set of translations against one reference each (Section 5.3 and Appendix A.6).

    Args:
        hypotheses: Detokenized translations, one for each sentence.
        references: Detokenized reference translations in the same order.
        language: Language of the translations (`de`, `zh`, `jpn_Jpan`, ...). It chooses BLEU's tokenizer (`zh` for
            Chinese, MeCab for Japanese and Korean, otherwise `13a`) and TER's words (characters of languages without
            spaces, see `build_ter`). For other languages that are written without spaces, such as Thai, trust chrF++
            and TER rather than BLEU: `warn_of_words` says so.
        metrics: Names in `METRICS`, or metrics themselves.
        sources: Sentences that were translated, for metrics that read them (COMET).
        sentencepiece: SentencePiece model that `spbleu` splits with; see `sentencepiece_bleu`.
        comet_model: Model of `comet`, by default COMET's usual one.

    Returns:
        One score for each metric, in the order of `metrics`.

    Raises:
        NeuronspecError: If a metric is unknown or lacks something it needs, there are no sentences or references, or
            the numbers of lines differ; or if a SentencePiece model is given without `spbleu`.

    Example:
        >>> [bleu, chrf] = score(["The cat sat here."], ["The cat sat here."], language="en")
        >>> bleu.metric, round(bleu.value, 1), bleu.sentences
        ('BLEU', 100.0, 1)
        >>> chrf.signature
        'nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|version:2.6.0'
    """
    # A string is a sequence, too: its letters would be scored as sentences.
    if isinstance(hypotheses, str) or isinstance(references, str):
        raise NeuronspecError("the hypotheses or the references are one string; give a list of sentences")
    check_references(references)

    options = MetricOptions(sentencepiece=sentencepiece, comet_model=comet_model)
    scores = []
    with open_metrics(metrics, options) as opened:
        for metric in opened:
            # The score is that of the summed statistics, as in every test.
            rows = metric.statistics(hypotheses, references, language, sources)
            value = float(metric.score(rows.sum(axis=0)))
            check_score(value, metric.name)

            scores.append(
                Score(
                    metric=metric.name,
                    value=value,
                    signature=metric.signature(language),
                    sentences=len(hypotheses),
                )
            )
    return scores


@contextmanager
def open_metrics(metrics: Iterable[str | Metric], options: MetricOptions | None = None) -> Iterator[list[Metric]]:
    """Yield metrics ready for use; what they need, such as COMET's model, stays loaded meanwhile.

    Args:
        metrics: Names in `METRICS`, or metrics themselves; those that come again are left out.
        options: Options of all metrics.

    Raises:
        NeuronspecError: If a metric is unknown, something that it needs is missing, or an option is given that only
            another metric needs.
    """
    # Each metric once, in the order given, whether it is given by name or not.
    options = options or MetricOptions()
    chosen: list[Metric] = []
    for one in metrics:
        metric = METRICS[one] if isinstance(one, str) else one
        if metric not in chosen:
            chosen.append(metric)

    # An option that one metric requires means nothing to the others.
    for name, metric in METRICS.items():
        option = metric.required_option
        if option and getattr(options, option) is not None and metric not in chosen:
            raise NeuronspecError(
                f"{getattr(options, option)} is the model of the metric {name}, which is not asked for; add it to the "
                "metrics"
            )

    # Metrics that are open already are closed if a later one cannot be opened.
    with ExitStack() as stack:
        yield [stack.enter_context(metric.open(options)) for metric in chosen]


def score_task(
    system: str,
    task: str,
    hypotheses: Sequence[str],
    references: Sequence[str],
    metrics: Iterable[Metric],
    *,
    sources: Sequence[str] | None = None,
    zero_shot: bool = False,
    identifier: str | None = DEFAULT_IDENTIFIER,
) -> Results:
    """Score one system on the test set of one task.

    Args:
        system: Name of the system.
        task: Direction; its target chooses BLEU's tokenizer.
        hypotheses: Detokenized translations, one for each sentence.
        references: Detokenized references in the same order.
        metrics: Opened metrics; see `open_metrics`.
        sources: Sentences that were translated, to find copies; COMET needs them, too.
        zero_shot: True if the system was not trained for the task.
        identifier: Name of the language identifier that finds off-target translations; None if broken translations
            are not counted.

    Returns:
        The results.

    Raises:
        NeuronspecError: If there are no sentences or references, the numbers of lines differ, a score is not finite,
            or the name cannot name a system.
    """
    # Names end up in paths.
    check_names([system], "system")
    target = split_direction(task)[1]
    check_references(references, f" of {task}")

    test_set = hash_test_set(references)

    scores, counted = [], {}
    for metric in metrics:
        rows = metric.statistics(hypotheses, references, target, sources)
        value = float(metric.score(rows.sum(axis=0)))
        check_score(value, metric.name, f" of {system} on {task}")
        counted[metric.name] = rows

        # The signature and the hash of the references tell apart scores that cannot be compared
        scores.append(
            SystemScore(
                system=system,
                task=task,
                metric=metric.name,
                score=value,
                signature=metric.signature(target),
                sentences=len(rows),
                test_set=test_set,
                zero_shot=zero_shot,
            )
        )

    # What metrics miss. Results keep the shares that tables show, which are the fields that both classes have.
    qualities = []
    if identifier is not None:
        assessed, broken = assess_each(hypotheses, sources, references, target_language=target, identifier=identifier)
        shares = asdict(assessed)
        kept = {one.name: shares[one.name] for one in fields(SystemQuality) if one.name in shares}
        qualities.append(SystemQuality(system=system, task=task, **kept))

        # The report shows each sentence with its verdict, without identifying its language again.
        if OFF_TARGET in broken:
            counted[OFF_TARGET] = broken[OFF_TARGET][:, None].astype(np.float64)

    outputs = Outputs(
        hypotheses=tuple(hypotheses),
        references=tuple(references),
        sources=None if sources is None else tuple(sources),
        name=system,
    )
    return Results(tuple(scores), tuple(qualities), {(system, task): counted}, {(system, task): outputs})


def check_references(references: Sequence[str], where: str = "") -> None:
    """Refuse references that are all empty.

    Args:
        references: References of a test set.
        where: Words that name the test set, for error messages.

    Raises:
        NeuronspecError: If all references are empty.
    """
    if references and all(map(is_empty, references)):
        raise NeuronspecError(
            f"all {len(references)} references{where} are empty, so there is nothing to score against; give the file "
            "that holds the reference translations"
        )


def check_score(value: float, metric: str, where: str = "") -> None:
    """Refuse a score that is not a finite number.

    Args:
        value: Score.
        metric: Display name of the metric.
        where: Words that name what was scored, for error messages.

    Raises:
        NeuronspecError: If the score is NaN or infinite.
    """
    if not math.isfinite(value):
        raise NeuronspecError(f"the {metric} score{where} is {value}, not a number; look for what the metric was given")
