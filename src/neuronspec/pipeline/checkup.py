"""The result of a thorough check: facts, problems and an estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neuronspec.checking.estimate import Estimate
from neuronspec.checking.problem import Problem, has_errors, sort_problems
from neuronspec.checking.text_sample import PairText
from neuronspec.data.texts import TEXT_PARTS


@dataclass(kw_only=True)
class Checkup:
    """Results of a thorough check.

    Attributes:
        kind: Kind of what was checked: `configuration`, `model`, `masks`, `counts` or `data`.
        name: Name or place of it.
        facts: Facts by name.
        texts: Text of each pair of languages, if there is some.
        found: Problems in the order in which they were found.
        estimate: Costs of a run.
    """

    kind: str
    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    texts: Sequence[PairText] = ()
    found: list[Problem] = field(default_factory=list)
    estimate: Estimate | None = None

    @property
    def problems(self) -> list[Problem]:
        """The problems, the most severe first."""
        return sort_problems(self.found)

    @property
    def has_errors(self) -> bool:
        """Whether one of the problems would stop the work."""
        return has_errors(self.found)

    def count_sentences(self) -> dict[str, Mapping[str, str]]:
        """Return the number of sentence pairs of each part, in words, by pair of languages."""
        return {text.pair: {part: text.count(part) for part in TEXT_PARTS if _has(text, part)} for text in self.texts}

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "facts": self.facts,
            "sentences": self.count_sentences(),
            "problems": [problem.as_dict() for problem in self.problems],
            "estimate": None if self.estimate is None else self.estimate.as_dict(),
        }


def _has(text: PairText, part: str) -> bool:
    return bool(text.parts[part]) or part in text.whole
