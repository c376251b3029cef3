"""Ways to use a verb: which options each of them reads, so that no option is ignored in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neuronspec.errors import NeuronspecError


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A way to use a verb.

    Attributes:
        reads: Names of the parameters that have an effect.
        advice: Advice for those who give other options; `{name}` stands for what was given for a parameter.
        own_advice: Better advice for some of them, by name.
        needs: For parameters that have an effect only together with another one, its name.
        needs_any: For parameters that have an effect only together with one of several others, their names.
    """

    reads: frozenset[str]
    advice: str = ""
    own_advice: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    needs_any: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def check(self, context: Any) -> None:
        """Refuse options of the command line that would change nothing.

        Args:
            context: Context of the verb, as typer makes it, which knows what was given.

        Raises:
            NeuronspecError: If there is such an option.
        """
        flags = {one.name: max(one.opts, key=len) for one in context.command.params}
        given = [name for name in flags if context.get_parameter_source(name).name != "DEFAULT"]
        unread = [name for name in given if name not in self.reads]

        # One with its own advice comes first: that fits better.
        for name in unread:
            if name in self.own_advice:
                raise NeuronspecError(self.own_advice[name].format(**context.params))
        if unread:
            listed = ", ".join(flags[name] for name in unread)
            raise NeuronspecError(f"{listed}: {self.advice.format(**context.params)}")

        needs = {name: [needed] for name, needed in self.needs.items()} | dict(self.needs_any)
        for name in given:
            if name in needs and not set(needs[name]) & set(given):
                listed = " or ".join(flags[one] for one in needs[name])
                raise NeuronspecError(f"{flags[name]} changes nothing without {listed}")

    def __or__(self, other: Mode) -> Mode:
        """Return a mode that reads what either of two modes reads, for their common heading in the help."""
        return Mode(reads=self.reads | other.reads)


def reading(*names: str) -> frozenset[str]:
    """Return the names of parameters, for `Mode.reads`."""
    return frozenset(names)
