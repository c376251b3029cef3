"""Zero-shot directions: which trained tasks lend them their encoder and their decoder."""

from __future__ import annotations

from collections.abc import Sequence

from neuronspec.errors import NeuronspecError
from neuronspec.languages import find_sides, join_direction, match_direction, split_direction


def name_composed(encoder: str, decoder: str) -> str:
    """Return the direction from the source of one task to the target of another."""
    try:
        return join_direction(split_direction(encoder)[0], split_direction(decoder)[1])
    except NeuronspecError:  # any string may name a task
        return f"{encoder.rpartition('-')[0]}-{decoder.partition('-')[2]}"


def compose_direction(direction: str, tasks: Sequence[str], pivot: str) -> tuple[str, str]:
    """Return the tasks that an unseen direction x-y is made of: x-pivot for the encoder, pivot-y for the decoder.

    Args:
        direction: one with the pivot on a side can be made of nothing but itself.
        tasks: those that there are; they tell where a direction of hyphenated codes comes apart.
        pivot: the language that they have in common.

    Example:
        >>> compose_direction("zh-Hant-fr", ["zh-Hant-en", "en-fr"], "en")
        ('zh-Hant-en', 'en-fr')
    """
    if direction.startswith(f"{pivot}-") or direction.endswith(f"-{pivot}"):
        return direction, direction
    for task in tasks:
        source = task.removesuffix(f"-{pivot}")
        if source != task and direction.startswith(f"{source}-"):
            spoken = f"{pivot}-{direction.removeprefix(f'{source}-')}"
            if spoken in tasks:
                return task, spoken
    return _compose_by_languages(direction, tasks, pivot)


def _compose_by_languages(direction: str, tasks: Sequence[str], pivot: str) -> tuple[str, str]:
    """Return the tasks that a direction is made of where it, or the pivot, is spelled in another way than they are."""
    source, _, target = direction.partition("-")  # any string may name a task
    source, target = find_sides(direction) or (source, target)
    needed = f"{source}-{pivot}", f"{pivot}-{target}"
    encoder, decoder = (match_direction(one, tasks) or one for one in needed)
    return encoder, decoder
