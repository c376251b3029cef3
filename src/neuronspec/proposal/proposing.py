"""Proposing a run for files: which corpora they hold, and settings that fit the text, the machine and the time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuronspec.errors import NeuronspecError
from neuronspec.proposal.budget import Budget, find_training_time, plan_preset
from neuronspec.proposal.discovery import discover
from neuronspec.proposal.enough_text import check_sizes
from neuronspec.proposal.found import Discovery
from neuronspec.proposal.listing import describe_left_out
from neuronspec.proposal.pretrained_model import check_pretrained, plan_pretrained
from neuronspec.proposal.recipe_text import write_recipe
from neuronspec.proposal.settings import (
    METHODS,
    Settings,
    choose_data,
    choose_preparation,
    choose_training,
    choose_translation,
    choose_vocabulary_size,
)
from neuronspec.proposal.text_amounts import TextAmounts, measure_text

MINUTES = 10.0

# Smallest limits on the words of a sentence: for test text that is given, and for text that is held out
_LONGEST_GIVEN, _LONGEST_HELD_OUT = 25, 15


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A proposed run.

    Attributes:
        discovery: Corpora that were found.
        settings: Values of the configuration, with reasons.
        minutes: Time that the run should take.
    """

    discovery: Discovery
    settings: Settings
    minutes: float

    def format_yaml(self, path: str | Path) -> str:
        """Return the configuration as commented YAML.

        Args:
            path: File that the text is for: paths of corpora are relative to its folder where they are below it, and
                the run has its name.
        """
        return write_recipe(self.discovery, self.settings, Path(path), minutes=self.minutes)


def propose(
    paths: Iterable[str | Path],
    minutes: float = MINUTES,
    model: str | None = None,
    pivot: str | None = None,
    languages: Sequence[str] = (),
) -> Proposal:
    """Propose a run for files: find their corpora, and choose settings.

    The speed of training is measured on this machine for some seconds.

    Args:
        paths: Files, folders, members of zip archives, or templates with `{lang}`, `{src}` and `{tgt}`.
        minutes: Time that the run should take on this machine.
        model: Pretrained model to start from, a directory or a name on the hub; by default a model is trained from
            scratch. Its weights are not loaded.
        pivot: Code of the language that the others are paired with; by default English, or else the language that
            most corpora have.
        languages: Codes of the other languages; by default all of which there is text.

    Returns:
        The proposal; `format_yaml` makes a configuration of it.

    Raises:
        NeuronspecError: If there is too little text to train on, or the model lacks one of the languages.
    """
    found = discover(paths, pivot=pivot, languages=languages)
    if not any(corpus.part == "train" for corpus in found.corpora):
        named = ", ".join(corpus.corpus.path for corpus in found.corpora[:3])
        more = describe_left_out(found.left_out, introduction="; not used")
        raise NeuronspecError(
            f"there is no text to train on, only for validation and test ({named}){more}; give more files"
        )

    # What takes no time comes first: is there enough text, and does the model know the languages at all?
    check_sizes(found)
    if model is not None:
        check_pretrained(model, found)

    amounts = measure_text(found)
    settings = Settings()
    choose_data(settings, found)
    budget = _choose_model(settings, found, amounts, minutes, model)
    choose_training(settings, budget, pretrained=model is not None)
    longest = budget.amounts if model is None and not any(found.count_pairs("test").values()) else amounts
    choose_translation(settings, longest, pretrained=model is not None)
    return Proposal(discovery=found, settings=settings, minutes=minutes)


def _choose_model(
    settings: Settings, found: Discovery, amounts: TextAmounts, minutes: float, model: str | None
) -> Budget:
    """Set cleaning, vocabulary, sampling and the model; return what there is time for."""
    time = find_training_time(minutes, pairs=amounts.total, tested=_count_tested(settings, found), methods=len(METHODS))
    if model is not None:
        budget = plan_pretrained(model, amounts, time)
    else:
        size = choose_vocabulary_size(amounts, languages=1 + len(found.languages))
        shortest = _LONGEST_GIVEN if any(found.count_pairs("test").values()) else _LONGEST_HELD_OUT
        budget = plan_preset(amounts, size, time, shortest)
        choose_preparation(settings, amounts, size, budget)

    settings.set("sampling.temperature", *_choose_temperature(amounts))
    settings.set("sampling.tokens_per_batch", budget.tokens_per_batch)
    longest = budget.amounts.longest
    settings.set("sampling.max_tokens", max(64, longest, min(256, 2 * longest)))
    for key, value in budget.model.model_dump(exclude_defaults=True).items():
        settings.set(f"model.{key}", value)
    settings.reasons["model"] = budget.reason
    return budget


def _choose_temperature(amounts: TextAmounts) -> tuple[Any, str]:
    """Return the sampling temperature: the more unequal the amounts of text, the higher."""
    counts = [count for count in amounts.pairs.values() if count]
    ratio = max(counts) / min(counts)
    if ratio < 2:
        return 1, "all languages have about as much text"
    smallest = min(amounts.pairs, key=lambda pair: amounts.pairs[pair])
    return (2 if ratio < 10 else 5), f"small languages are drawn more often: {smallest} has {min(counts):,} pairs"


def _count_tested(settings: Settings, found: Discovery) -> int:
    """Return the number of test sentences of all directions together."""
    share = settings.values.get("data.hold_out.test", 0)
    trained = found.count_pairs("train")
    own = found.count_pairs("test")
    return 2 * sum(own[pair] or round(share * count) for pair, count in trained.items())
