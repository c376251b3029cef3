"""Groups of directions by language family, which methods treat alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neuronspec.errors import NeuronspecError
from neuronspec.languages import UNKNOWN, find_language, same_language, split_direction


def group_by_family(tasks: Sequence[str], families: Mapping[str, str] | None = None, pivot: str = "en") -> list[str]:
    """Return the group of each direction: the pivot, and the family of the other language, source first.

    The paper names five families, which make 10 sets, but counts 303.6 M parameters (A.2.4), which are 12 sets of
    25.3 M. Here, too, EC30 has 12 sets: Kannada, an Indo-Aryan language in the paper, is Dravidian, a sixth family.

    Args:
        tasks: Directions that have a language in common.
        families: Families that differ from those of the table, by language code.
        pivot: Language that the directions have in common, in case there are two.

    Raises:
        NeuronspecError: If a task is no direction, or no language is in every direction.

    Example:
        >>> group_by_family(["en-de", "en-sv", "fr-en"])
        ['en-Germanic', 'en-Germanic', 'Romance-en']
    """
    try:
        sides = [split_direction(task) for task in tasks]
    except NeuronspecError as error:
        raise NeuronspecError(f"groups by family need directions between languages: {error}") from error

    # Languages are compared by their codes in the table, in case they are spelled differently.
    common = set.intersection(*({find_language(code).code for code in pair} for pair in sides))
    if not common:
        raise NeuronspecError(
            "groups by family need one language that every direction has, such as en; "
            f"there is none in {', '.join(tasks)}: choose groups in another way"
        )

    # Of two common languages, as in de-en and en-de, the configured pivot is meant.
    wanted = find_language(pivot).code
    shared = wanted if wanted in common else min(common)

    def name(code: str) -> str:
        return shared if find_language(code).code == shared else _find_family(code, families or {})

    return ["-".join(map(name, pair)) for pair in sides]


def _find_family(code: str, families: Mapping[str, str]) -> str:
    """Return the family of a language; a language without a family in the table is a family of its own."""
    # A family from the configuration goes before that in the table.
    given = next((family for other, family in families.items() if same_language(code, other)), None)
    family = given or find_language(code).family
    return code if family == UNKNOWN else family
