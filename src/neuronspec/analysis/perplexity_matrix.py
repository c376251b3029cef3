"""Matrix of perplexities: the text of every language, with the neurons of every language switched off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuronspec.analysis.ablation import AblationTest, compare_changes
from neuronspec.analysis.ablation_masks import name_without_own, name_without_random
from neuronspec.analysis.ablation_metrics import AblationMetric
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.progress import Advance
from neuronspec.statistics.numbers import FloatArray

NOTHING, RANDOM = "nothing", "random"  # rows of the table: no neuron off; as many random ones as the text's own


@dataclass(frozen=True, eq=False, kw_only=True)
class PerplexityMatrix:
    """Perplexity of the text of each task, with the neurons of each task switched off (LAPE: Tang et al., ACL 2024).

    The perplexity of a text is exp(L), where L is the mean negative log-likelihood of its real tokens, in nats: each
    token counts once, whatever its sentence and its batch. Tokens that have nothing before them in their line are not
    predicted and do not count: the beginning-of-sentence token, or without one the first word's. For an
    encoder-decoder, all tokens of the target count that the decoder predicts.

    Perplexities of languages on different texts, or of models with different vocabularies, cannot be compared with
    each other: compare what is in one column.

    Attributes:
        tasks: Tasks of the rows (whose neurons were off) and of the columns (the text).
        neurons: Number of neurons of each task that were off.
        tokens: Number of tokens of each text that count.
        baseline: (tasks,) L of each text with every neuron, in nats per token.
        values: (tasks off, tasks text) L without the neurons of each task.
        random: (draws, tasks text) L without random neurons: as many, in the same layers, as are the text's own.
        masks: The neurons of each task.

    Example:
        >>> masks = NeuronMasks.from_dict({"de": {"decoder.0": [1, 0, 0]}, "en": {"decoder.0": [0, 1, 0]}})
        >>> matrix = PerplexityMatrix(
        ...     tasks=("de", "en"),
        ...     neurons={"de": 1, "en": 1},
        ...     tokens={"de": 50, "en": 60},
        ...     baseline=np.log([10.0, 20.0]),
        ...     values=np.log([[15.0, 20.0], [10.0, 40.0]]),
        ...     random=np.log([[11.0, 22.0]]),
        ...     masks=masks,
        ... )
        >>> matrix.rows
        ('nothing', 'de', 'en', 'random')
        >>> matrix.perplexities.round(6).tolist()
        [[10.0, 20.0], [15.0, 20.0], [10.0, 40.0], [11.0, 22.0]]
        >>> matrix.increases.round(6).tolist()
        [[5.0, 0.0], [0.0, 20.0], [1.0, 2.0]]
    """

    tasks: tuple[str, ...]
    neurons: Mapping[str, int]
    tokens: Mapping[str, int]
    baseline: FloatArray
    values: FloatArray
    random: FloatArray
    masks: NeuronMasks

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows of `perplexities`: nothing off, the neurons of each task, random ones."""
        return (NOTHING, *self.tasks, RANDOM)

    @property
    def perplexities(self) -> FloatArray:
        """The (1 + tasks + 1, tasks text) perplexities: nothing off, each task's neurons off, mean of random ones."""
        rows = [np.exp(self.baseline)[None], np.exp(self.values), np.exp(self.random).mean(0, keepdims=True)]
        return np.concatenate(rows)

    @property
    def increases(self) -> FloatArray:
        """The (tasks + 1, tasks text) increases of the perplexity over nothing off, as in LAPE's paper."""
        return self.perplexities[1:] - self.perplexities[:1]

    @property
    def percentages(self) -> FloatArray:
        """The (tasks + 1, tasks text) increases of the perplexity in percent, which compare across texts."""
        return 100 * self.increases / self.perplexities[:1]

    def test(self, permutations: int = 9999, seed: int = 0) -> AblationTest:
        """Test whether texts get worse without their own neurons than without random ones, in nats per token.

        Tasks have different numbers of neurons, which decide how much a row changes, so that `p_others`, the
        comparison with other tasks' neurons, says less than `p_random`: the random ones are as many as the own.

        Args:
            permutations: Number of permutations to draw; see `Ablation.test`.
            seed: Seed of the draws.
        """
        # (tasks text, ...): how much worse each text gets
        changes = (self.values - self.baseline).T
        random_changes = (self.random - self.baseline).T
        return compare_changes(changes, random_changes, permutations=permutations, seed=seed)

    def as_dict(self) -> dict[str, Any]:
        """Return the matrix as JSON values: perplexities and increases by what was off, then by text."""
        return {
            "tasks": list(self.tasks),
            "neurons": dict(self.neurons),
            "layers": {layer: self._count_layer(layer) for layer in self.masks.layers},
            "tokens": dict(self.tokens),
            "perplexity": {NOTHING: self._name_texts(self.perplexities[0]), **self._name_rows(self.perplexities[1:])},
            "increase": self._name_rows(self.increases),
            "increase_percent": self._name_rows(self.percentages),
            "test": vars(self.test()),
            "signature": dict(self.masks.signature),
        }

    def _count_layer(self, layer: str) -> dict[str, int]:
        return dict(zip(self.tasks, self.masks.layer(layer).sum(1).tolist(), strict=True))

    def _name_rows(self, rows: FloatArray) -> dict[str, Any]:
        """Return the rows of each task's neurons and of random ones, which a task's name cannot hide."""
        *own, random = map(self._name_texts, rows)
        return {"off": dict(zip(self.tasks, own, strict=True)), RANDOM: random}

    def _name_texts(self, row: FloatArray) -> dict[str, float]:
        return dict(zip(self.tasks, row.tolist(), strict=True))


def measure_perplexities(
    masks: NeuronMasks,
    measure: AblationMetric,
    tokens: Mapping[str, int],
    *,
    draws: int,
    advance: Advance | None = None,
) -> PerplexityMatrix:
    """Measure the text of each task with every neuron, without the neurons of each task, and without random ones.

    Args:
        masks: The neurons of each task.
        measure: Loss of a text in nats per token, from `measuring_loss` with the masks of `make_ablation_masks`.
        tokens: Number of tokens of each text.
        draws: Number of random sets of each text.
        advance: Function that is called after each of the tasks * (1 + tasks + draws) measurements.

    Raises:
        NeuronspecError: If a perplexity is not finite.
    """
    # A row for each text here: its measurements follow each other
    found = []
    for text in masks.tasks:
        controls = [name_without_random(text, draw) for draw in range(draws)]
        without = (None, *map(name_without_own, masks.tasks), *controls)

        row = []
        for off in without:
            row.append(_measure_finite(measure, text, off))
            if advance is not None:
                advance()
        found.append(row)

    # Apart again, by what was off, with a column for each text
    size = len(masks.tasks)
    baseline, values, random = np.split(np.array(found).T, [1, 1 + size])
    return PerplexityMatrix(
        tasks=masks.tasks,
        neurons={task: sum(int(masks.mask(task, layer).sum()) for layer in masks.layers) for task in masks.tasks},
        tokens=dict(tokens),
        baseline=baseline[0],
        values=values,
        random=random,
        masks=masks,
    )


def _measure_finite(measure: AblationMetric, text: str, off: str | None) -> float:
    """Return the loss of a text whose perplexity is a finite number."""
    loss = float(measure(text, off))
    try:
        is_finite = math.isfinite(math.exp(loss))
    except OverflowError:
        is_finite = False

    if not is_finite:
        state = "with every neuron" if off is None else off
        raise NeuronspecError(
            f"the loss of {text} {state} is {loss:g} nats per token, which has no finite perplexity: is the model "
            "damaged, or its data type too small (try float32)?"
        )
    return loss
