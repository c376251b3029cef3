"""Pretrained models to start from: whether they know the languages, and what there is time for. No weights are read."""

from __future__ import annotations

from neuronspec.config.sections import Model, Sampling
from neuronspec.errors import NeuronspecError
from neuronspec.languages import join_direction
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_configuration, load_tokenizer
from neuronspec.proposal.budget import Budget, TrainingTime, round_down
from neuronspec.proposal.found import Discovery
from neuronspec.proposal.text_amounts import TextAmounts
from neuronspec.training.speed import measure_speed

_MEASURED = 5.0  # seconds
_BATCH = 1_024  # tokens
_UNMEASURED = 500  # updates, where the speed cannot be measured
_LARGE = 1e9  # parameters of a model that is trained with the lower rate
_RATE, _LOW_RATE = 1e-4, 3e-5
_PASSES = 3.0


def check_pretrained(model: str, found: Discovery) -> None:
    """Refuse a model that lacks a tag for one of the languages.

    Raises:
        NeuronspecError: If it lacks one, or if it is not found.
    """
    config = load_configuration(model, translates=True)
    codec = TextCodec(load_tokenizer(model), config)
    pairs = [(found.pivot, language) for language in found.languages]
    codec.formats([join_direction(*sides) for pair in pairs for sides in (pair, pair[::-1])], training=True)


def plan_pretrained(model: str, amounts: TextAmounts, time: TrainingTime) -> Budget:
    """Return what there is time for with a pretrained model, which is not trained before its neurons are recorded.

    Args:
        model: Directory, or name on the hub.
        amounts: Amounts of the training text.
        time: Time for training.
    """
    section = Model(pretrained=model)
    sampling = Sampling(tokens_per_batch=_BATCH)
    try:
        speed = measure_speed(section, 0, sampling=sampling, seconds=_MEASURED, lengths=amounts.lengths)
    except NeuronspecError as error:  # too large for the memory here
        return Budget(
            model=section,
            amounts=amounts,
            reason=f"its speed was not measured: {error}",
            updates=0,
            continued=_UNMEASURED,
            tokens_per_batch=_BATCH,
            learning_rate=_LOW_RATE,
            seconds_per_update=None,
        )

    # All of the time is for the methods; a few passes over the text are enough.
    most = _PASSES * amounts.tokens / _BATCH
    updates = min(time.seconds / max(1, time.methods) / speed.seconds_per_update, most)
    return Budget(
        model=section,
        amounts=amounts,
        reason=f"{speed.parameters / 1e6:,.0f} million parameters; it has tags for all of these languages",
        updates=0,
        continued=round_down(updates),
        tokens_per_batch=_BATCH,
        learning_rate=_RATE if speed.parameters < _LARGE else _LOW_RATE,
        seconds_per_update=speed.seconds_per_update,
    )
