"""Ablation: switch neurons off, and measure which language's text gets worse.

Overlaps are only descriptive. If neurons are language-specific, then a text must get worst when the neurons of its own
language are off, compared with as many neurons of another language, or as many random ones.

Own neurons are chosen on one part of the text and measured on another. They fire more on their own text than on other
texts, and partly for that reason alone their own text depends on them more. The random neurons are selected for the
same text and fire on it about as often; so the comparison with them is the one to trust:

    own = choose_own_neurons(counts, masks, tasks, "decoder")  # counts of sentences that are not in `batches`
    off = make_ablation_masks(own, masks, counts)
    with measuring_loss(model, off, batches) as metric:
        print(ablate(tasks, off, metric).test())
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
    given: str = "",
    advance: Advance | None = None,
) -> Ablation:
    """Measure the text of each task with every neuron, without each task's own, and without random ones.

    The measurements of one text follow each other and depend on nothing else, so that `measure` can store them and an
    interrupted ablation can resume.

    Args:
        tasks: Names of the tasks, both of the texts and of the neurons.
        off: Masks from `make_ablation_masks`.
        measure: Function from `measuring_loss` or `measuring_chrf`, or any other score of a model with `off`.
        metric: Name of the metric.
        higher_is_better: True for scores such as chrF++, False for losses.
        given: Rule of masks that were given, whose tasks may have different numbers of neurons; empty for own neurons
            that were chosen, equally many for each task.
        advance: Function that is called after each of the tasks * (1 + tasks + random) measurements.

    Returns:
        The measurements.

    Raises:
        NeuronspecError: If masks are missing or switch off unequal numbers of neurons, or a measurement is not finite.
    """
    if len(tasks) < 2:
        raise NeuronspecError(f"found {len(tasks)} tasks, expected two or more: there is nothing to compare one with")

    # The masks to use: without the own neurons of each task, and without random ones of the text
    columns = [name_without_own(name) for name in tasks]
    controls = _list_controls(off, tasks)
    used = off.reorder([*columns, *itertools.chain(*controls.values())])
    stack, neurons, share = _measure_sizes(used, uneven=bool(given))

    # A row for each text: with every neuron, without each task's own, and without random ones
    rows = []
    for text in tasks:
        row = []
        for without in (None, *columns, *controls[text]):
            value = float(measure(text, without))
            if not math.isfinite(value):
                raise NeuronspecError(f"the {metric} of {text} {without or 'with every neuron'} is {value}")
            row.append(value)
            if advance is not None:
                advance()
        rows.append(row)

    # Apart again, by what was off: (tasks, 1), (tasks, tasks), (tasks, draws)
    baseline, values, random = np.split(np.array(rows), [1, 1 + len(tasks)], axis=1)
    return Ablation(
        stack=stack,
        tasks=tuple(tasks),
        metric=metric,
        higher_is_better=higher_is_better,
        share=share,
        neurons=neurons,
        baseline=baseline[:, 0],
        values=values,
        random=random,
        given=given,
    )


def _list_controls(off: NeuronMasks, tasks: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of the masks without random neurons of each task."""
    draws = 1  # at least: without any, an error reports that the first one is missing

    # As many as the first task has; if another one has fewer, the masks that it lacks are reported
    while name_without_random(tasks[0], draws) in off.tasks:
        draws += 1

    controls = {}
    for text in tasks:
        controls[text] = [name_without_random(text, draw) for draw in range(draws)]
    return controls


@dataclass(frozen=True)
class AblationTest:
    """Test whether texts get worst without their own neurons.

    Attributes:
        tasks: Number of tasks.
        strongest: Number of texts that get worse without their own neurons than without those of any other task.
        own: Mean change for the worse, over texts, without their own neurons.
        others: Mean change for the worse without the neurons of another task.
        random: Mean change for the worse without random neurons that fire as often.
        p_others: Probability of such a large `own` if it does not matter which task's neurons are off.
        least_p_others: Smallest possible `p_others` for this number of tasks: two tasks can never be significant.
        p_random: Probability of such a large difference between `own` and `random` if own neurons are like random ones.
        least_p_random: Smallest possible `p_random`.
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
    """Scores of the text of each task without neurons.

    Attributes:
        stack: Stack whose neurons were off.
        tasks: Tasks of the rows (the text) and of the columns (the neurons that were off).
        metric: Name of the metric.
        higher_is_better: True if higher values are better.
        share: Share of the stack's neurons that were off.
        neurons: Number of neurons that were off in each layer of the stack; rounded means over tasks for given masks.
        baseline: (tasks,) with every neuron.
        values: (tasks, tasks) without the own neurons of each task.
        random: (tasks, draws) without random neurons of the text's own mask that fire as often on it; for given masks,
            of all neurons but those.
        given: Rule of the masks that were given; empty for own neurons that were chosen.

    Raises:
        NeuronspecError: If shapes or values do not fit together.

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
    given: str = ""

    def __post_init__(self) -> None:
        rows = len(self.tasks)
        if self.stack not in STACKS or rows < 2 or len(set(self.tasks)) < rows or not 0 < self.share <= 1:
            raise NeuronspecError(
                f"found the stack {self.stack!r}, the tasks {', '.join(self.tasks)} and the share {self.share:g}; "
                "expected encoder or decoder, two different tasks or more, and a share between 0 and 1"
            )

        # The class is frozen, so the checked arrays are set past its guard
        for name, shape in (("baseline", (rows,)), ("values", (rows, rows)), ("random", (rows, -1))):
            object.__setattr__(self, name, _check_numbers(getattr(self, name), name, shape))

    @property
    def changes(self) -> FloatArray:
        """The (tasks, tasks) changes: how much worse a text gets without a task's own neurons; positive is worse."""
        return self._worsen(self.values)

    @property
    def amount(self) -> str:
        """Share of the stack's neurons that were off, in words: `5 % of the decoder`."""
        share = f"{100 * self.share:.2g} % of the {self.stack}"
        return f"on average {share}, from given masks: {self.given}" if self.given else share

    @property
    def matrix(self) -> FloatArray:
        """The (tasks, tasks + 1) changes without the own neurons of each task, and last the mean of random ones."""
        return np.concatenate([self.changes, self.random_changes.mean(1, keepdims=True)], axis=1)

    @property
    def random_changes(self) -> FloatArray:
        """The (tasks, draws) changes without random neurons."""
        return self._worsen(self.random)

    def test(self, permutations: int = 9999, seed: int = 0) -> AblationTest:
        """Test whether texts get worse without their own neurons than without others.

        Compared with other tasks: a permutation test of the columns, which keeps how sensitive a text is and how much
        all texts need a task's neurons. Compared with random neurons: a sign-flip test of each text's difference. Both
        are one-sided. All permutations are tried if there are no more than `permutations` (up to 7 tasks, or 13 for
        signs); otherwise they are drawn at random.

        Args:
            permutations: Number of permutations to draw.
            seed: Seed of the draws.

        Raises:
            NeuronspecError: If `permutations` is below 1 or `seed` is below 0.
        """
        return compare_changes(self.changes, self.random_changes, permutations=permutations, seed=seed)

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
        """Return the ablation from the values of `as_dict`.

        Raises:
            NeuronspecError: If the values are not an ablation.
        """
        found = values if isinstance(values, dict) else {}
        facts = _read_facts(found)
        tasks, neurons = facts["tasks"], facts["neurons"]

        # A file may hold anything: first the types of what is inside, then the names themselves
        are_named = all(isinstance(name, str) for name in [*tasks, *neurons])
        are_counted = all(type(size) is int and size >= 0 for size in neurons.values())
        if not are_named or not are_counted:
            raise NeuronspecError(
                f"no ablation: expected the names of tasks and the numbers of neurons, found {tasks} and {neurons}"
            )
        check_names(tasks)
        check_layers(neurons)

        # The arrays are checked where the ablation is made
        numbers = {name: found.get(name) for name in ("baseline", "values", "random")}
        return cls(**facts | numbers | {"tasks": tuple(tasks)})

    def _worsen(self, values: FloatArray) -> FloatArray:
        # Losses rise and scores fall where a text gets worse; positive is worse for both
        worse = values - self.baseline[:, None]
        return -worse if self.higher_is_better else worse


def compare_changes(
    changes: FloatArray, random_changes: FloatArray, *, permutations: int = 9999, seed: int = 0
) -> AblationTest:
    """Test whether texts get worse without their own neurons than without others; see `Ablation.test`.

    Args:
        changes: (tasks, tasks) how much worse the text of each row gets without the neurons of each column.
        random_changes: (tasks, draws) how much worse each text gets without random neurons.
        permutations: Number of permutations to draw.
        seed: Seed of the draws.

    Raises:
        NeuronspecError: If `permutations` is below 1 or `seed` is below 0.
    """
    if permutations < 1 or seed < 0:
        raise NeuronspecError(f"found {permutations} permutations and the seed {seed}, expected 1, and 0, or more")

    control = random_changes.mean(1)
    tasks, own = len(changes), changes.diagonal()
    others = changes[~np.eye(tasks, dtype=bool)].reshape(tasks, tasks - 1)  # (tasks, tasks - 1)

    # What to try: orders of the columns, and signs of the differences
    generator = np.random.default_rng(seed)
    orders = _list_orders(tasks, permutations, generator)  # (trials, tasks)
    signs = _list_signs(tasks, permutations, generator)  # (trials, tasks)

    # What the trials find: other columns taken for the own ones, and other signs of the differences
    permuted_own = changes[np.arange(tasks), orders].mean(1)  # (trials,)
    flipped_differences = (signs * (own - control)).mean(1)  # (trials,)

    # Both are one-sided: own neurons matter more
    return AblationTest(
        tasks=tasks,
        strongest=int((own > others.max(1) + TIE).sum()),
        own=float(own.mean()),
        others=float(others.mean()),
        random=float(control.mean()),
        p_others=_share_reached(permuted_own),
        least_p_others=1 / len(orders),
        p_random=_share_reached(flipped_differences),
        least_p_random=1 / len(signs),
    )


def _read_facts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an ablation that are no arrays, after checking their types."""
    kinds = {"stack": str, "tasks": list, "metric": str, "higher_is_better": bool, "share": float, "neurons": dict}

    facts: dict[str, Any] = {}
    for name, kind in kinds.items():
        facts[name] = values.get(name)
        if not isinstance(facts[name], kind):
            raise NeuronspecError(f"no ablation: expected {name} as {kind.__name__}, found {facts[name]!r}")

    # Files of earlier versions have no masks that were given.
    given = values.get("given", "")
    if not isinstance(given, str):
        raise NeuronspecError(f"no ablation: expected given as str, found {given!r}")
    return facts | {"given": given}


def _measure_sizes(off: NeuronMasks, *, uneven: bool) -> tuple[str, dict[str, int], float]:
    """Return the stack in which neurons are off, how many are in each of its layers, and which share that is.

    Args:
        off: Masks of all tasks, and of their controls.
        uneven: Whether tasks may differ in their numbers of neurons, of which the mean is returned.
    """
    sizes = {layer: (~off.layer(layer)).sum(1) for layer in off.layers}  # (tasks,) each

    # In layers of the other stack nothing is off, so they do not count
    stacks = {stack_of(layer) for layer, size in sizes.items() if size.any()}
    if len(stacks) != 1 or (not uneven and any((size != size[0]).any() for size in sizes.values())):
        raise NeuronspecError(
            "the masks do not switch off equally many neurons for every task, in one stack: make them with switch_off"
        )

    [stack] = stacks

    # The mean over the rows, which are all alike unless masks were given
    means = {layer: float(sizes[layer].double().mean()) for layer in list_layers(off, stack)}
    width = sum(off.widths[layer] for layer in means)
    return stack, {layer: round(mean) for layer, mean in means.items()}, sum(means.values()) / width


def _check_numbers(values: ArrayLike, name: str, shape: tuple[int, ...]) -> FloatArray:
    """Return the values as float64 of a shape, in which -1 means one or more."""
    try:
        found = np.asarray(values)
    except (ValueError, RecursionError) as error:  # rows of different lengths
        raise NeuronspecError(f"{name} must be numbers of the shape {shape}: {error}") from error

    # -1 stands for any number but 0
    fits = found.ndim == len(shape) and all(
        there == wanted or (wanted < 0 < there) for there, wanted in zip(found.shape, shape, strict=True)
    )

    # Whole numbers or floats: neither text nor truth values
    if not fits or found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        expected = " x ".join(str(size) if size > 0 else "1 or more" for size in shape)
        raise NeuronspecError(f"{name} must be {expected} finite numbers, found {found.dtype} of shape {found.shape}")
    return found.astype(np.float64)


def _list_orders(count: int, permutations: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return (trials, count) orders, the given one first: all where they are few enough, else random ones."""
    if math.factorial(count) <= permutations + 1:
        return np.array([*itertools.permutations(range(count))])

    # Too many to try all: draws with replacement, after the given order
    first = np.arange(count)[None]
    return np.concatenate([first, generator.permuted(np.repeat(first, permutations, axis=0), axis=1)])


def _list_signs(count: int, permutations: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return (trials, count) signs, all positive first: all where they are few enough, else random ones."""
    if 2**count <= permutations + 1:
        return np.array([*itertools.product((1, -1), repeat=count)])

    # Too many to try all: draws with replacement, after the given signs
    drawn = 1 - 2 * generator.integers(2, size=(permutations, count))
    return np.concatenate([np.ones((1, count), dtype=np.int64), drawn])


def _share_reached(statistics: FloatArray) -> float:
    """Return the share of (trials,) statistics that reach the first one, which is the observed."""
    # Rounding errors grow with the numbers; `find_p_value` counts the observed order itself
    scale = max(1.0, float(np.abs(statistics).max()))
    others = statistics[1:]
    return find_p_value(count_reached(others, statistics[0], scale=scale), len(others))
