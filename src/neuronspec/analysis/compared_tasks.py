"""Panels: which tasks are compared in a stack, and what is known of their languages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from neuronspec.errors import NeuronspecError
from neuronspec.languages import UNKNOWN, Language, find_language, find_sides, is_known, names_language
from neuronspec.layer_names import stack_of

PivotSide = Literal["to", "from"]
PAPER_SIDES: dict[str, PivotSide] = {"encoder": "to", "decoder": "from"}


@dataclass(frozen=True)
class ComparedTasks:
    """The tasks that are compared in a stack, ordered by family and language.

    Attributes:
        stack: `encoder` or `decoder`.
        tasks: their names.
        labels: what tells them apart: the language of each, or the task's own name.
        languages: the language of each task; empty where the tasks do not stand for languages, and then there is
            nothing to say about families.
        title: what the tasks are, in words (`x to en`).
    """

    stack: str
    tasks: tuple[str, ...]
    labels: tuple[str, ...]
    languages: tuple[Language, ...]
    title: str

    @property
    def families(self) -> tuple[str, ...]:
        """The family of each task, an empty string where it stands for no language."""
        return tuple(language.family for language in self.languages) or ("",) * len(self.tasks)

    @property
    def relatives(self) -> tuple[str, ...]:
        """The group of related languages that each task belongs to: isolates and creoles are alone in theirs."""
        return tuple("/".join(language.lineage) or language.iso3 for language in self.languages)

    @property
    def scripts(self) -> tuple[str, ...]:
        """The script of each task, an empty string where it stands for no language."""
        return tuple(language.script for language in self.languages) or ("",) * len(self.tasks)

    @property
    def names(self) -> tuple[str, ...]:
        """The English name of each task's language, or the task's own name."""
        return tuple(language.name for language in self.languages) or self.labels


def choose_tasks(tasks: Sequence[str], pivot: str, stack: str, side: PivotSide | None = None) -> ComparedTasks:
    """Choose which tasks to compare in a stack: x-pivot in the encoder, pivot-x in the decoder, as the paper does.

    Tasks that are no directions, but named after languages (as of a decoder-only model that reads one language at
    a time), are compared as languages; any others under their own names, without families.

    Args:
        tasks: of the masks.
        pivot: the language that the others are paired with.
        stack: `encoder` or `decoder`.
        side: `to` the pivot or `from` it, where it shall not be the paper's choice.

    Returns:
        The tasks ordered by family and language. Where no task is of that side, those of the other; where none is of
        either, all of them under their own names.

    Example:
        >>> choose_tasks(["en-nl", "en-de", "en-ru", "de-en"], "en", "decoder").labels
        ('de', 'nl', 'ru')
    """
    wanted = side or PAPER_SIDES[stack]
    read = [_read_direction(task, pivot) for task in tasks]
    sides = {side for _, _, side in filter(None, read)}
    if wanted not in sides and sides:
        wanted = next(iter(sides))
    rows = [(found[0], found[1]) for found in read if found is not None and found[2] == wanted]
    title = f"x to {pivot}" if wanted == "to" else f"{pivot} to x"
    if not rows:
        title = "all tasks"
        rows = [(code, code) for code in tasks] if _are_languages(tasks) else []
    if not rows:
        return ComparedTasks(stack, tuple(tasks), tuple(tasks), (), title)
    rows.sort(key=lambda row: (find_language(row[0]).family, *row))
    labels, names = (tuple(column) for column in zip(*rows, strict=True))
    return ComparedTasks(stack, names, labels, tuple(map(find_language, labels)), title)


def has_pivot(tasks: Sequence[str], pivot: str) -> bool:
    """Tell whether any task is a direction to or from the pivot, in whatever notation.

    Example:
        >>> has_pivot(["en-de", "de-en"], "eng_Latn"), has_pivot(["en-de", "news"], "fr")
        (True, False)
    """
    return any(_read_direction(task, pivot) for task in tasks)


def choose_tasks_by_stack(
    tasks: Sequence[str], layers: Iterable[str], pivot: str, sides: Mapping[str, PivotSide]
) -> dict[str, ComparedTasks]:
    """Choose which tasks to compare in each stack that there are layers of.

    Args:
        tasks: of the masks.
        layers: their names.
        pivot: the language that the others are paired with.
        sides: by stack, on which side the pivot shall stand.

    Example:
        >>> choose_tasks_by_stack(["en-nl", "nl-en"], ["encoder.0", "decoder.0"], "en", PAPER_SIDES)["encoder"].tasks
        ('nl-en',)
    """
    stacks = dict.fromkeys(stack_of(layer) for layer in layers)
    return {stack: choose_tasks(tasks, pivot, stack, sides[stack]) for stack in stacks}


def split_by_side(tasks: Sequence[str], pivot: str) -> dict[str, list[str]]:
    """Divide tasks into those from the pivot and those to it; all together where some are neither.

    Example:
        >>> split_by_side(["en-de", "de-en"], "en")
        {'from en': ['en-de'], 'to en': ['de-en']}
    """
    sides: dict[str, list[str]] = {}
    for task in tasks:
        found = _read_direction(task, pivot)
        if found is None:
            return {"all tasks": list(tasks)}
        sides.setdefault(f"{found[2]} {pivot}", []).append(task)
    return sides


def _read_direction(task: str, pivot: str) -> tuple[str, str, PivotSide] | None:
    """Return the language that a direction pairs with the pivot, the task, and on which side the pivot stands."""
    sides = find_sides(task)
    if sides is None:
        return None  # any string may name a task
    source, target = sides
    if names_language(target, pivot):
        return source, task, "to"
    return (target, task, "from") if names_language(source, pivot) else None


def _are_languages(tasks: Sequence[str]) -> bool:
    """Tell whether tasks are named after languages: any string may name a task, and ISO 639 has codes like `law`.

    Every name is the code of a language, and the table knows most of them.
    """
    try:
        known = [find_language(task).family != UNKNOWN for task in tasks if is_known(task) and not _is_pair(task)]
    except NeuronspecError:
        return False
    return len(known) == len(tasks) and 2 * sum(known) > len(known)


def _is_pair(task: str) -> bool:
    sides = find_sides(task)
    return sides is not None and all(map(is_known, sides))
