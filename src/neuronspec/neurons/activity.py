"""The definition of an active neuron, which recordings and examples share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from neuronspec.errors import NeuronspecError

Unit = Literal["sentence", "token"]  # what is counted
GatedAt = Literal["gate", "product"]  # where a gated unit is observed


@dataclass(frozen=True, kw_only=True)
class Activity:
    """When a neuron counts as active, and what is counted.

    Args:
        unit: `sentence` counts a sentence once if any of its real tokens activates the neuron (paper, 3.1);
            `token` counts every real token position.
        threshold: Activation above which a neuron is active. With ReLU nothing but 0 makes sense; GELU and SiLU are
            slightly below 0 for most inputs below 0, so that 0 divides at the same place.
        gated_at: Place at which gated units (mT5, LLaMA ...) are observed: `gate` is the activation of the gate, as in
            LAPE; `product` is the vector that enters the second matrix. The sign of the product depends on the other
            factor as much as on the gate, hence the default. Units without a gate have only one such place.
        ignore: Token ids that do not count, such as those of tags and of the end of sentence.

    Raises:
        NeuronspecError: If a value is not one of these.

    Example:
        >>> Activity(ignore=(2, 7)).signature(gated=True)
        {'threshold': '0.0', 'ignored': '2 7', 'gated_at': 'gate'}
    """

    unit: Unit = "sentence"
    threshold: float = 0.0
    gated_at: GatedAt = "gate"
    ignore: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # Literals are not checked at run time.
        if self.unit not in get_args(Unit):
            raise NeuronspecError(f"unit must be sentence or token, not {self.unit!r}")
        if self.gated_at not in get_args(GatedAt):
            raise NeuronspecError(f"gated_at must be gate or product, not {self.gated_at!r}")
        if not all(isinstance(number, int) for number in self.ignore):
            raise NeuronspecError(f"ignore takes token ids, which are whole numbers, not {list(self.ignore)}")

    def signature(self, *, gated: bool) -> dict[str, str]:
        """Return what decides which neurons are active, as strings to keep with counts and examples.

        Args:
            gated: Whether the model has gated units; without any, `gated_at` makes no difference and is left out.
        """
        # Sorted and each once: the same set of ids must have the same signature. Padding never counts.
        ignored = " ".join(map(str, sorted(set(self.ignore)))) or "padding"
        facts = {"threshold": str(self.threshold), "ignored": ignored}
        return facts | ({"gated_at": self.gated_at} if gated else {})


def choose_activity(
    activity: Activity | None,
    *,
    unit: Unit = "sentence",
    threshold: float = 0.0,
    gated_at: GatedAt = "gate",
    ignore: Sequence[int] = (),
) -> Activity:
    """Return the definition that a caller gave, as one object or as single settings.

    Args:
        activity: Definition as one object, or None.
        unit: As in `Activity`.
        threshold: As in `Activity`.
        gated_at: As in `Activity`.
        ignore: As in `Activity`.

    Raises:
        NeuronspecError: If both are given, or a setting is none.
    """
    settings = Activity(unit=unit, threshold=threshold, gated_at=gated_at, ignore=tuple(ignore))
    if activity is None:
        return settings

    # Settings that equal the defaults cannot be distinguished from settings that were left out.
    if settings != Activity():
        raise NeuronspecError("give activity=..., or unit, threshold, gated_at and ignore, but not both")
    return activity
