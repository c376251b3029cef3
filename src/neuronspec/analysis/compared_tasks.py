"""Tasks that are compared in a stack, and what is known about their languages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from neuronspec.errors import NeuronspecError
from neuronspec.languages import UNKNOWN, Language, find_language, find_sides, is_known, names_language
from neuronspec.layer_names import stack_of

PivotSide = Literal["to", "from"]
# An encoder reads the language x in x-pivot, a decoder writes it in pivot-x
PAPER_SIDES: dict[str, PivotSide] = {"encoder": "to", "decoder": "from"}


@dataclass(frozen=True)
class ComparedTasks:
    """The tasks that are compared in a stack, ordered by family and language.

    Attributes:
        stack: `encoder` or `decoder`.
        tasks: Names of the tasks.
        labels: Code of each task's language, or the task's own name.
        languages: Language of each task; empty where the tasks are not named after languages, and then there are no
            families.
        title: Title of the tasks (`x to en`).
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
        tasks: Tasks of the masks.
        pivot: Language that the others are paired with.
        stack: `encoder` or `decoder`.
        side: `to` the pivot or `from` it, where it shall not be the paper's choice.

    Returns:
        The tasks ordered by family and language. If no task has the pivot on that side, those of the other side; if
        none has the pivot at all, all of them under their own names.

    Example:
        >>> choose_tasks(["en-nl", "en-de", "en-ru", "de-en"], "en", "decoder").labels
        ('de', 'nl', 'ru')
    """
    # Directions with the pivot, else languages, else names that say nothing
    sides = _pair_with_languages(tasks, pivot)
    if sides:
        # The wanted side, or the only one there is
        wanted = side or PAPER_SIDES[stack]
        if wanted not in sides:
            [wanted] = sides
        pairs = sides[wanted]
        title = f"x to {pivot}" if wanted == "to" else f"{pivot} to x"
    elif _are_languages(tasks):
        pairs, title = [(code, code) for code in tasks], "all tasks"
    else:
        return ComparedTasks(stack, tasks=tuple(tasks), labels=tuple(tasks), languages=(), title="all tasks")

    # Relatives stand together, and every order of the tasks gives the same
    pairs.sort(key=lambda pair: (find_language(pair[0]).family, *pair))
    codes, names = (tuple(column) for column in zip(*pairs, strict=True))
    return ComparedTasks(stack, tasks=names, labels=codes, languages=tuple(map(find_language, codes)), title=title)


def has_pivot(tasks: Sequence[str], pivot: str) -> bool:
    """Return whether any task is a direction to or from the pivot, in any notation.

    Example:
        >>> has_pivot(["en-de", "de-en"], "eng_Latn"), has_pivot(["en-de", "news"], "fr")
        (True, False)
    """
    return any(_read_direction(task, pivot) for task in tasks)


def choose_tasks_by_stack(
    tasks: Sequence[str], layers: Iterable[str], pivot: str, sides: Mapping[str, PivotSide]
) -> dict[str, ComparedTasks]:
    """Choose which tasks to compare in each stack that has layers.

    Args:
        tasks: Tasks of the masks.
        layers: Names of the layers.
        pivot: Language that the others are paired with.
        sides: Side of the pivot in each stack.

    Example:
        >>> choose_tasks_by_stack(["en-nl", "nl-en"], ["encoder.0", "decoder.0"], "en", PAPER_SIDES)["encoder"].tasks
        ('nl-en',)
    """
    # Each stack once, in the order of its first layer
    stacks = dict.fromkeys(stack_of(layer) for layer in layers)
    return {stack: choose_tasks(tasks, pivot, stack, side=sides[stack]) for stack in stacks}


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
            # A task without a side belongs to neither part
            return {"all tasks": list(tasks)}
        sides.setdefault(f"{found[2]} {pivot}", []).append(task)
    return sides


def _pair_with_languages(tasks: Sequence[str], pivot: str) -> dict[PivotSide, list[tuple[str, str]]]:
    """Return for each side of the pivot the directions that have it there, each with its other language's code."""
    sides: dict[PivotSide, list[tuple[str, str]]] = {}
    for task in tasks:
        found = _read_direction(task, pivot)
        if found is not None:
            code, _, side = found
            sides.setdefault(side, []).append((code, task))
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
    """Return whether tasks are named after languages: any string can name a task, and ISO 639 has codes like `law`.

    Every name must be the code of a language, and the table must know most of them.
    """
    known = []
    for task in tasks:
        try:
            # A pair of languages without the pivot is a direction, not the name of a language
            if not is_known(task) or _is_pair(task):
                return False
            known.append(find_language(task).family != UNKNOWN)
        except NeuronspecError:
            return False

    # ISO 639 has a code for many a short word, so most names must be in the table
    return 2 * sum(known) > len(known)


def _is_pair(task: str) -> bool:
    sides = find_sides(task)
    return sides is not None and all(map(is_known, sides))
