"""The time of a run: how much of it trains, and which model and how many updates fit into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from neuronspec.config.sections import Model, Sampling, Training
from neuronspec.errors import NeuronspecError
from neuronspec.proposal.text_amounts import TextAmounts
from neuronspec.statistics.numbers import show_number
from neuronspec.training.speed import Speed, configure, count_model, measure_speed

# What a run takes besides training: starting, reading, the vocabulary, recording, scoring, the report; translating
_FIXED_SECONDS = 30.0
_PAIRS_PER_SECOND = 4_000
_TRANSLATED_PER_SECOND = 150
_SYSTEMS = 3  # that translate, besides those of the methods: the pretrained model, with masks and with random ones
_LEAST_TRAINING = 0.3  # share of the time
_CONTINUED = 0.15  # share of the training that each of two methods continues

_MEASURED = 5.0  # seconds
_TRIED_BATCH = 1_024  # tokens
_MANY_UPDATES = 3_000  # updates that are worth smaller batches
_FEWEST_TOKENS, _MOST_TOKENS = 512, 8_192
_LIMITS = (100, 50, 30, 20)  # words of the longest sentences that are trained, as far as there is time
_SHORTEST_LIMIT = 15
_LEAST_KEPT = 1 / 3  # share of the text of every pair of languages that a limit must leave
_FEWEST_PASSES = 2.0  # passes over the text that there must be time for
_PASSES = 40.0  # passes over the text after which more updates only overfit
_FLOPS = {"cpu": 1e12, "cuda": 1e15}  # operations per second that no machine exceeds, to try no model in vain


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """A preset, with the settings that go with its size.

    Attributes:
        preset: Name of the preset.
        pairs: Number of sentence pairs from which it is worth its time.
        tokens: Number of tokens that its training should at least see.
        learning_rate: Peak of the learning rate.
    """

    preset: str
    pairs: int
    tokens: float
    learning_rate: float


# From the largest to the smallest, which is always possible
SIZES: Sequence[ModelSize] = (
    ModelSize(preset="mT-big", pairs=5_000_000, tokens=2e9, learning_rate=5e-4),
    ModelSize(preset="mT-small", pairs=300_000, tokens=1e8, learning_rate=7e-4),
    ModelSize(preset="mT-shallow", pairs=50_000, tokens=3e7, learning_rate=1e-3),
    ModelSize(preset="tiny", pairs=0, tokens=0, learning_rate=2e-3),
)


@dataclass(frozen=True, kw_only=True)
class TrainingTime:
    """Seconds that there are for training.

    Attributes:
        seconds: Seconds of all trainings together.
        methods: Number of methods that continue the training.
    """

    seconds: float
    methods: int

    @property
    def continued(self) -> float:
        """The seconds of each method's training, next to a pretraining."""
        return self.seconds * min(_CONTINUED, 2 * _CONTINUED / max(1, self.methods))

    @property
    def pretraining(self) -> float:
        """The seconds of the training of the model that is specialized."""
        return self.seconds - self.methods * self.continued


def find_training_time(minutes: float, *, pairs: int, tested: int, methods: int) -> TrainingTime:
    """Return the time for training in a run of so many minutes.

    Args:
        minutes: Length of the whole run.
        pairs: Number of sentence pairs to read.
        tested: Number of test sentences of all directions together.
        methods: Number of methods that continue the training.
    """
    translating = tested * (_SYSTEMS + methods) / _TRANSLATED_PER_SECOND
    rest = _FIXED_SECONDS + pairs / _PAIRS_PER_SECOND + translating
    seconds = 60 * minutes
    return TrainingTime(seconds=max(seconds - rest, _LEAST_TRAINING * seconds), methods=methods)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A model and numbers of updates that fit into the time.

    Attributes:
        model: Section `model` of the configuration.
        reason: Reason for the model.
        updates: Number of updates of the model that is specialized.
        continued: Number of updates of each method.
        tokens_per_batch: Number of tokens in a batch.
        learning_rate: Peak of the learning rate.
        seconds_per_update: Seconds of an update; None if it was not measured.
        max_words: Number of words of the longest sentences that are trained; None is no limit.
        amounts: Amounts of the text within this length.
    """

    model: Model
    amounts: TextAmounts
    reason: str
    updates: int
    continued: int
    tokens_per_batch: int
    learning_rate: float
    seconds_per_update: float | None
    max_words: int | None = _LIMITS[0]

    def describe(self, updates: int) -> str:
        """Return how long some updates take."""
        if self.seconds_per_update is None:
            return "not measured; change it to what you have time for"
        minutes = updates * self.seconds_per_update / 60
        time = f"{minutes:.1f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"
        return f"{time} at {show_number(self.seconds_per_update)} seconds each, as measured here"


def plan_preset(amounts: TextAmounts, vocabulary: int, time: TrainingTime, shortest: int = _SHORTEST_LIMIT) -> Budget:
    """Return the largest model that the text is worth and that there is time for.

    Where there is time for less than a few passes over the text, only its short sentences are trained: a model learns
    to translate these much sooner. Enough of the text of every language is left.

    Args:
        amounts: Amounts of the training text.
        vocabulary: Number of pieces.
        time: Time for training.
        shortest: Smallest limit on the number of words, for text that is tested with longer sentences.
    """
    for size in SIZES:
        model = Model(preset=size.preset, embeddings="shared")
        if amounts.total < size.pairs or not _is_conceivable(size, model, vocabulary, time):
            continue
        try:
            speed = _measure(model, vocabulary, amounts, time)
        except NeuronspecError:  # too large for the memory
            continue
        if size.tokens * speed.seconds_per_update <= _TRIED_BATCH * time.pretraining:
            return _plan(size, model, speed, amounts, time, shortest)
    raise AssertionError("the smallest model has no limits")


def _is_conceivable(size: ModelSize, model: Model, vocabulary: int, time: TrainingTime) -> bool:
    """Return whether a machine of this kind could train a model of this size in the time at all."""
    if not size.tokens:
        return True
    operations = 6 * count_model(configure(model, vocabulary)) * size.tokens
    return operations <= _FLOPS["cuda" if torch.cuda.is_available() else "cpu"] * time.pretraining


def _measure(model: Model, vocabulary: int, amounts: TextAmounts, time: TrainingTime) -> Speed:
    return measure_speed(
        model,
        vocabulary,
        training=Training(),
        sampling=Sampling(tokens_per_batch=_TRIED_BATCH),
        seconds=min(_MEASURED, 0.1 * time.seconds),
        lengths=amounts.lengths,
    )


def _plan(
    size: ModelSize, model: Model, speed: Speed, amounts: TextAmounts, time: TrainingTime, shortest: int
) -> Budget:
    """Return numbers of updates and batches for a model of this size."""
    tokens_per_second = _TRIED_BATCH / speed.seconds_per_update
    affordable = tokens_per_second * time.pretraining
    max_words = _choose_limit(amounts, affordable, shortest)
    within = amounts.limit(max_words)
    tokens = min(affordable, _PASSES * within.tokens)

    # Small batches where there is little time, so that there are enough updates.
    batch = max(_FEWEST_TOKENS, min(_MOST_TOKENS, tokens / _MANY_UPDATES))
    batch = int(max(batch, 4 * within.longest)) // 64 * 64

    passes = tokens / within.tokens
    seen = f"{passes:.1f} passes over" if passes >= 1 else f"{100 * passes:.0f} % of"
    return Budget(
        model=model,
        amounts=within,
        reason=f"there is time for {seen} this text in both directions",
        updates=round_down(tokens / batch),
        continued=round_down(tokens / batch * time.continued / time.pretraining),
        tokens_per_batch=batch,
        learning_rate=size.learning_rate,
        seconds_per_update=batch / tokens_per_second,
        max_words=max_words,
    )


def _choose_limit(amounts: TextAmounts, tokens: float, shortest: int) -> int | None:
    """Return the largest limit on words with which there is time for some passes over the text.

    A limit must leave enough text of every pair of languages. Where there is time for none of these, the smallest one
    is chosen; where none leaves enough, there is no limit.
    """
    limits = [*(limit for limit in _LIMITS if limit > shortest), shortest]
    fitting = [limit for limit in limits if amounts.share_within(limit)[1] >= _LEAST_KEPT]
    affordable = (limit for limit in fitting if tokens >= _FEWEST_PASSES * amounts.limit(limit).tokens)
    return next(affordable, fitting[-1] if fitting else None)


def round_down(number: float) -> int:
    """Return a number with two significant digits, at least 1.

    Example:
        >>> round_down(2_345), round_down(87.3), round_down(0.4)
        (2300, 87, 1)
    """
    whole = int(number)
    if whole < 100:
        return max(1, whole)
    step = int(10 ** (len(str(whole)) - 2))
    return whole // step * step
