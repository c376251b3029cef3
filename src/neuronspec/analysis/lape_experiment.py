"""LAPE's experiment: how much the text of each language needs the neurons of each language (Tang et al., ACL 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.analysis.ablation_masks import make_ablation_masks
from neuronspec.analysis.ablation_metrics import count_predicted, measuring_loss
from neuronspec.analysis.given_masks import allow_all
from neuronspec.analysis.perplexity_matrix import PerplexityMatrix, measure_perplexities
from neuronspec.config.sections import TooLong
from neuronspec.errors import NeuronspecError
from neuronspec.models.text_batches import TaskTexts, make_batches
from neuronspec.neurons.activity import Activity
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations
from neuronspec.progress import show_progress


@dataclass(frozen=True, kw_only=True)
class LapeOptions:
    """Settings of LAPE's experiment.

    Attributes:
        share: Share of all neurons to select, those of the lowest entropy (LAPE: 1 %).
        bar: Quantile of all activation probabilities that a neuron's must exceed (LAPE: the 95th percentile), both to
            be selected and to belong to a task.
        sentences: Number of texts of each task to measure on, the first ones; never more than half. The others decide
            which neurons are selected.
        draws: Number of random sets of neurons for each task.
        seed: Seed of the random sets.
        activity: Definition of active; LAPE's unit is `token`, whatever it says.
        tokens_per_batch: Largest number of padded tokens in a batch.
        too_long: Treatment of texts that are longer than the model can read, or 512 tokens.
    """

    share: float = 0.01
    bar: float = 0.95
    sentences: int = 200
    draws: int = 3
    seed: int = 0
    activity: Activity = field(default_factory=Activity)
    tokens_per_batch: int = 8_192
    too_long: TooLong = "cut"


def measure_lape(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, TaskTexts],
    options: LapeOptions | None = None,
    *,
    signature: Mapping[str, str] | None = None,
) -> PerplexityMatrix:
    """Select each task's neurons by LAPE, switch them off, and measure the perplexity of every task's text.

    The first texts of each task are measured, and the others decide the neurons: chosen on the very text that is
    measured, they would look better than they are. The control of a text is drawn among the neurons that are not its
    own: as many in each layer, of about the same activation probability on this text. Afterwards the model is
    unchanged.

    Args:
        model: Decoder-only model, or an encoder-decoder whose tasks are directions; not specialized.
        tokenizer: Tokenizer of the model.
        texts: Text of each task: lines for a decoder-only model, each predicted on its own, or (source, target) pairs.
        options: Settings.
        signature: Hashes of model and text, for the signature of the masks.

    Returns:
        The perplexities, and the masks of the selected neurons.

    Raises:
        NeuronspecError: If there are fewer than two tasks or texts of a task, no neuron is likely enough to be
            selected, or a perplexity is not finite.

    Example:
        >>> from neuronspec.analysis import measure_lape
        >>> # measure_lape(model, tokenizer, {"de": german_lines, "en": english_lines}).perplexities
    """
    options = options or LapeOptions()
    measured = {task: _count_measured(task, given, options.sentences) for task, given in texts.items()}
    if len(texts) < 2:
        raise NeuronspecError(
            f"found text of {', '.join(texts) or 'no task'}, expected two tasks or more: LAPE looks for the neurons "
            "that few tasks use"
        )

    def read(task: str, part: slice) -> Iterator[dict[str, Any]]:
        chosen: Any = {task: texts[task][part]}
        size = options.tokens_per_batch
        return make_batches(model, tokenizer, chosen, tokens_per_batch=size, too_long=options.too_long)

    # The neurons of each task, from the texts that are not measured
    with show_progress("recording neurons", len(texts)) as advance:

        def read_rest() -> Iterator[dict[str, Any]]:
            for task, number in measured.items():
                yield from read(task, slice(number, None))
                advance()

        by_token = replace(options.activity, unit="token")
        counts = record_activations(model, read_rest(), activity=by_token, signature=signature)
    masks = NeuronMasks.from_counts(counts, rule="lape", share=options.share, bar=options.bar)
    off = make_ablation_masks(masks, allow_all(masks), counts, options.draws, options.seed)

    # A text is measured many times, so that its batches are kept.
    batches = {task: list(read(task, slice(number))) for task, number in measured.items()}
    tokens = {task: count_predicted(model, found) for task, found in batches.items()}
    total = len(texts) * (1 + len(texts) + options.draws)
    with show_progress("switching neurons off", total) as advance, measuring_loss(model, off, batches) as measure:
        return measure_perplexities(masks, measure, tokens, draws=options.draws, advance=advance)


def _count_measured(task: str, texts: Sequence[Any], limit: int) -> int:
    """Return the number of texts, from the first, to measure on: no more than half."""
    if isinstance(texts, str) or len(texts) < 2:
        raise NeuronspecError(
            f"found {1 if isinstance(texts, str) else len(texts)} texts of {task}, expected a list of two or more: its "
            "neurons are selected on one part of the text and measured on another"
        )
    return min(limit, len(texts) // 2)
