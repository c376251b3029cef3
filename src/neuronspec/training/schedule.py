"""The learning rate at each update."""

from __future__ import annotations

from neuronspec.config.sections import Training

# Share of the updates that a warm-up usually takes, for settings that are proposed
USUAL_WARMUP = 0.1


def learning_rate(update: int, training: Training) -> float:
    """Return the learning rate of an update.

    It rises linearly during the warm-up, then stays constant or falls with the inverse square root of the update.
    During the last `decay` share of the updates it also falls linearly to 0.

    Args:
        update: Number of the update, 0 for the first.
        training: Schedule and peak learning rate.

    Example:
        >>> schedule = Training(updates=10, warmup=2, learning_rate=1.0, schedule="constant", decay=0.5)
        >>> [round(learning_rate(update, schedule), 2) for update in range(10)]
        [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]
    """
    # Up to the peak, and then along the schedule
    rate = training.learning_rate
    if update < training.warmup:
        rate *= (update + 1) / training.warmup
    elif training.schedule == "inverse_sqrt":
        rate *= (max(training.warmup, 1) / (update + 1)) ** 0.5

    # Down to 0 at the end, in addition to the schedule
    decay_updates = training.decay * training.updates
    if decay_updates:
        rate *= min(1.0, (training.updates - update) / decay_updates)
    return rate
