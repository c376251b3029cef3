"""The causal check of a selection: switch neurons off, and see which language's text suffers.

Overlaps only describe. If neurons are specific to a language, then its text must lose most where its own are off,
more than where those of another language are, or random ones, equally many.

Own neurons are chosen on one part of the text and measured on another. They fire more on their own text than on
others', and partly for that alone their own text misses them more than others do; the random ones are selected for
the same text and fire on it about as often, and so the comparison with them is the one to trust:

    own = choose_own(counts, masks, panel.tasks, "decoder")  # counts of sentences that are not in `batches`
    off = switch_off(own, masks, counts)
    with measuring_loss(model, off, batches) as measure:  # of neuronspec.analysis.harm
        print(ablate(panel.tasks, off, measure).test())
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronspec.analysis.ablation_masks import list_layers, name_without_own, name_without_random
from neuronspec.analysis.ablation_metrics import AblationMetric
from neuronspec.errors import NeuronspecError
from neuronspec.layer_names import STACKS, stack_of
from neuronspec.names import check_layers, check_names
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.progress import Advance
from neuronspec.statistics.numbers import FloatArray
from neuronspec.statistics.permutation import TIE, count_reached, find_p_value


def ablate(
    tasks: Sequence[str],
    off: NeuronMasks,
    measure: AblationMetric,
    *,
    metric: str = "loss",
    higher_is_better: bool = False,
    advance: Advance | None = None,
) -> Ablation:
    """Measure the text of each task with every neuron, without each task's own, and without random ones.

    The measurements of one text follow each other and depend on nothing else, so that `measure` may keep them and an
    interrupted check go on.

    Args:
        tasks: of the texts and of the neurons.
        off: from `switch_off`.
        measure: as `measuring_loss` yields it, or any other score of a model with `off`.
        metric: what is measured, in a word.
        higher_is_better: true for scores such as chrF++.
        advance: called after each of the tasks * (1 + tasks + random) measurements.

    Returns:
        What was measured.

    Raises:
        NeuronspecError: masks are missing, switch off unequal numbers of neurons, or a measurement is not finite.
    """
    if len(tasks) < 2:
        raise NeuronspecError(f"found {len(tasks)} tasks, expected two or more: there is nothing to compare one with")
    draws = 1  # at least: without any, the first is said to be missing
    while name_without_random(tasks[0], draws) in off.tasks:
        draws += 1
    columns = [name_without_own(name) for name in tasks]
    controls = {text: [name_without_random(text, draw) for draw in range(draws)] for text in tasks}
    stack, neurons, share = _measure_sizes(off.reorder([*columns, *itertools.chain(*controls.values())]))
    rows = []
    for text in tasks:
        row: list[float] = []
        for without in (None, *columns, *controls[text]):
            row.append(float(measure(text, without)))
            if not math.isfinite(row[-1]):
                raise NeuronspecError(f"the {metric} of {text} {without or 'with every neuron'} is {row[-1]}")
            if advance is not None:
                advance()
        rows.append(row)
    baseline, values, random = np.split(np.array(rows), [1, 1 + len(tasks)], axis=1)
    return Ablation(stack, tuple(tasks), metric, higher_is_better, share, neurons, baseline[:, 0], values, random)


@dataclass(frozen=True)
class AblationTest:
    """Whether texts suffer most from the loss of their own neurons.

    Attributes:
        tasks: how many there are.
        strongest: how many texts suffer more from the loss of their own neurons than from that of any other task's.
        own: the mean harm, over texts, of being without their own neurons.
        others: without those of another task.
        random: without random ones that fire as often.
        p_others: how probable so large an `own` is if it does not matter whose neurons are off.
        least_p_others: the smallest that `p_others` can be with so many tasks: two of them can show nothing.
        p_random: how probable so large a difference of `own` and `random` is if own neurons are like random ones.
        least_p_random: the smallest that `p_random` can be.
    """

    tasks: int
    strongest: int
    own: float
    others: float
    random: float
    p_others: float
    least_p_others: float
    p_random: float
    least_p_random: float


@dataclass(frozen=True, eq=False)
class Ablation:
    """What the text of each task scores without neurons.

    Attributes:
        stack: whose neurons were off.
        tasks: of the rows (the text) and the columns (whose neurons were off).
        metric: what was measured.
        higher_is_better: whether more of it is better.
        share: of the neurons of the stack that were off.
        neurons: for each layer of the stack, how many were off.
        baseline: (tasks,) with every neuron.
        values: (tasks, tasks) without the own neurons of each task.
        random: (tasks, draws) without random neurons of the text's own mask that fire as often on it.

    Raises:
        NeuronspecError: shapes or values do not fit together.

    Example:
        >>> losses = [[2.5, 2.0], [3.25, 4.0]]
        >>> ablation = Ablation(
        ...     "decoder", ("de", "ru"), "loss", False, 0.05, {"decoder.0": 8}, [2.0, 3.0], losses, [[2.0], [3.25]]
        ... )
        >>> ablation.changes.tolist()
        [[0.5, 0.0], [0.25, 1.0]]
        >>> found = ablation.test()
        >>> found.strongest, found.own, found.others, found.random, found.p_others, found.p_random
        (2, 0.75, 0.125, 0.125, 0.5, 0.25)
    """

    stack: str
    tasks: tuple[str, ...]
    metric: str
    higher_is_better: bool
    share: float
    neurons: Mapping[str, int]
    baseline: FloatArray
    values: FloatArray
    random: FloatArray

    def __post_init__(self) -> None:
        rows = len(self.tasks)
        if self.stack not in STACKS or rows < 2 or len(set(self.tasks)) < rows or not 0 < self.share <= 1:
            raise NeuronspecError(
                f"found the stack {self.stack!r}, the tasks {', '.join(self.tasks)} and the share {self.share:g}; "
                "expected encoder or decoder, two different tasks or more, and a share between 0 and 1"
            )
        for name, shape in (("baseline", (rows,)), ("values", (rows, rows)), ("random", (rows, -1))):
            object.__setattr__(self, name, _check_numbers(getattr(self, name), name, shape))

    @property
    def changes(self) -> FloatArray:
        """The (tasks, tasks) harm: how much worse a text is without a task's own neurons, positive where it is."""
        return self._harm(self.values)

    @property
    def matrix(self) -> FloatArray:
        """The (tasks, tasks + 1) harm without the own neurons of each task, and last the mean of random ones."""
        return np.concatenate([self.changes, self.random_changes.mean(1, keepdims=True)], axis=1)

    @property
    def random_changes(self) -> FloatArray:
        """The (tasks, draws) harm of random neurons."""
        return self._harm(self.random)

    def test(self, permutations: int = 9999, seed: int = 0) -> AblationTest:
        """Test whether texts suffer more from the loss of their own neurons than from that of others.

        Against other tasks: the columns change places in every way, which keeps how sensitive a text is and how much
        everybody needs a task's neurons. Against random neurons: each text's difference changes its sign in every
        way. Both ask one side only. What there is to try is tried exhaustively where it is no more than
        `permutations` (up to 7 tasks, and up to 13), and else drawn.

        Args:
            permutations: how many to draw.
            seed: of the draws.

        Raises:
            NeuronspecError: `permutations` is below 1 or `seed` below 0.
        """
        if permutations < 1 or seed < 0:
            raise NeuronspecError(f"found {permutations} permutations and the seed {seed}, expected 1, and 0, or more")
        harm, control = self.changes, self.random_changes.mean(1)
        count, own = len(harm), harm.diagonal()
        generator = np.random.default_rng(seed)
        orders = _list_orders(count, permutations, generator)  # (trials, tasks)
        signs = _list_signs(count, permutations, generator)
        off_diagonal = harm[~np.eye(count, dtype=bool)].reshape(count, count - 1)
        return AblationTest(
            count,
            int((own > off_diagonal.max(1) + TIE).sum()),
            float(own.mean()),
            float(off_diagonal.mean()),
            float(control.mean()),
            _share_reached(harm[np.arange(count), orders].mean(1)),
            1 / len(orders),
            _share_reached((signs * (own - control)).mean(1)),
            1 / len(signs),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the ablation as JSON values."""
        return vars(self) | {
            "tasks": list(self.tasks),
            "neurons": dict(self.neurons),
            "baseline": self.baseline.tolist(),
            "values": self.values.tolist(),
            "random": self.random.tolist(),
        }

    @classmethod
    def from_dict(cls, values: object) -> Ablation:
        """Return the ablation that `as_dict` gave.

        Raises:
            NeuronspecError: it is none.
        """
        kinds = {"stack": str, "tasks": list, "metric": str, "higher_is_better": bool, "share": float, "neurons": dict}
        found = values if isinstance(values, dict) else {}
        for name, kind in kinds.items():
            if not isinstance(found.get(name), kind):
                raise NeuronspecError(f"no ablation: expected {name} as {kind.__name__}, found {found.get(name)!r}")
        tasks, neurons = found["tasks"], found["neurons"]
        named = all(isinstance(name, str) for name in [*tasks, *neurons])
        if not named or not all(type(size) is int and size >= 0 for size in neurons.values()):
            raise NeuronspecError(
                f"no ablation: expected the names of tasks and the numbers of neurons, found {tasks} and {neurons}"
            )
        check_names(tasks)
        check_layers(neurons)
        numbers = {name: found.get(name) for name in ("baseline", "values", "random")}
        return cls(**{name: found[name] for name in kinds} | numbers | {"tasks": tuple(tasks)})

    def _harm(self, values: FloatArray) -> FloatArray:
        worse = values - self.baseline[:, None]
        return -worse if self.higher_is_better else worse


def _measure_sizes(off: NeuronMasks) -> tuple[str, dict[str, int], float]:
    """Return the stack in which neurons are off, how many are in each of its layers, and which share that is."""
    sizes = {layer: (~off.layer(layer)).sum(1) for layer in off.layers}  # (tasks,) each
    stacks = {stack_of(layer) for layer, size in sizes.items() if size.any()}
    if len(stacks) != 1 or any((size != size[0]).any() for size in sizes.values()):
        raise NeuronspecError(
            "the masks do not switch off equally many neurons for every task, in one stack: make them with switch_off"
        )
    [stack] = stacks
    neurons = {layer: int(sizes[layer][0]) for layer in list_layers(off, stack)}
    return stack, neurons, sum(neurons.values()) / sum(off.widths[layer] for layer in neurons)


def _check_numbers(values: ArrayLike, name: str, shape: tuple[int, ...]) -> FloatArray:
    """Return the values as float64 of a shape, in which -1 means one or more."""
    try:
        found = np.asarray(values)
    except (ValueError, RecursionError) as error:  # rows of different lengths
        raise NeuronspecError(f"{name} must be numbers of the shape {shape}: {error}") from error
    fits = found.ndim == len(shape) and all(
        there == wanted or (wanted < 0 < there) for there, wanted in zip(found.shape, shape, strict=True)
    )
    if not fits or found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        expected = " x ".join(str(size) if size > 0 else "1 or more" for size in shape)
        raise NeuronspecError(f"{name} must be {expected} finite numbers, found {found.dtype} of shape {found.shape}")
    return found.astype(np.float64)


def _list_orders(count: int, permutations: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return (trials, count) orders, the given one first: all where they are few enough, else random ones."""
    if math.factorial(count) <= permutations + 1:
        return np.array([*itertools.permutations(range(count))])
    first = np.arange(count)[None]
    return np.concatenate([first, generator.permuted(np.repeat(first, permutations, axis=0), axis=1)])


def _list_signs(count: int, permutations: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return (trials, count) signs, all positive first: all where they are few enough, else random ones."""
    if 2**count <= permutations + 1:
        return np.array([*itertools.product((1, -1), repeat=count)])
    drawn = 1 - 2 * generator.integers(2, size=(permutations, count))
    return np.concatenate([np.ones((1, count), dtype=np.int64), drawn])


def _share_reached(statistics: FloatArray) -> float:
    """Return the share of (trials,) statistics that reach the first one, which is the observed."""
    scale = max(1.0, float(np.abs(statistics).max()))
    others = statistics[1:]
    return find_p_value(count_reached(others, statistics[0], scale=scale), len(others))
