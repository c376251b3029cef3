"""Zero-shot directions: the trained tasks whose encoder and decoder they take."""

from __future__ import annotations

from collections.abc import Sequence

from neuronspec.errors import NeuronspecError
from neuronspec.languages import find_sides, join_direction, match_direction, split_direction


def name_composed(encoder: str, decoder: str) -> str:
    """Return the direction from the source of one task to the target of another.

    Args:
        encoder: Task whose source to take.
        decoder: Task whose target to take.
    """
    try:
        return join_direction(split_direction(encoder)[0], split_direction(decoder)[1])
    except NeuronspecError:  # any string may name a task
        return f"{encoder.rpartition('-')[0]}-{decoder.partition('-')[2]}"


def list_unseen(tasks: Sequence[str], pivot: str) -> list[str]:
    """Return every direction that can be composed: x-y for all x-pivot and pivot-y among the tasks.

    Args:
        tasks: Names of the trained tasks.
        pivot: Language that they have in common.

    Raises:
        NeuronspecError: If there is none.

    Example:
        >>> list_unseen(["de-en", "sv-en", "en-fr", "en-de"], "en")
        ['de-fr', 'sv-fr', 'sv-de']
    """
    # By ending and beginning: a language code may contain hyphens itself.
    sources = [task.removesuffix(f"-{pivot}") for task in tasks if task.endswith(f"-{pivot}")]
    targets = [task.removeprefix(f"{pivot}-") for task in tasks if task.startswith(f"{pivot}-")]

    directions = [f"{source}-{target}" for source in sources for target in targets if source != target]
    if not directions:
        raise NeuronspecError(f"there is nothing to compose: no tasks x-{pivot} and {pivot}-y among the masks")
    return directions


def compose_direction(direction: str, tasks: Sequence[str], pivot: str) -> tuple[str, str]:
    """Return the tasks that an unseen direction x-y is composed of: x-pivot for the encoder, pivot-y for the decoder.

    Args:
        direction: Direction to compose; one with the pivot on a side can be composed of nothing but itself.
        tasks: Names of the trained tasks; they show where a direction of hyphenated codes comes apart.
        pivot: Language that the tasks have in common.

    Returns:
        The task for the encoder and the task for the decoder; they need not be among `tasks`.

    Example:
        >>> compose_direction("zh-Hant-fr", ["zh-Hant-en", "en-fr"], "en")
        ('zh-Hant-en', 'en-fr')
    """
    # With the pivot on one side, there is nothing to compose.
    if direction.startswith(f"{pivot}-") or direction.endswith(f"-{pivot}"):
        return direction, direction

    # The trained tasks show where the source ends, even if its code contains hyphens.
    for task in tasks:
        source = task.removesuffix(f"-{pivot}")
        if source != task and direction.startswith(f"{source}-"):
            from_pivot = f"{pivot}-{direction.removeprefix(f'{source}-')}"
            if from_pivot in tasks:
                return task, from_pivot

    # Otherwise the codes are spelled in another way than those of the tasks.
    return _compose_by_languages(direction, tasks, pivot)


def _compose_by_languages(direction: str, tasks: Sequence[str], pivot: str) -> tuple[str, str]:
    """Return the tasks that a direction is composed of if it, or the pivot, is spelled in another way than they are."""
    source, _, target = direction.partition("-")  # any string may name a task
    source, target = find_sides(direction) or (source, target)

    # A task that is not found keeps its name, for the message of whoever looks it up.
    needed = f"{source}-{pivot}", f"{pivot}-{target}"
    encoder, decoder = (match_direction(one, tasks) or one for one in needed)
    return encoder, decoder
