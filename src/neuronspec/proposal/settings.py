"""Settings that fit the text, the machine and the time: each with the reason for it in a few words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from neuronspec.proposal.budget import Budget
from neuronspec.proposal.found import Discovery
from neuronspec.proposal.text_amounts import TextAmounts
from neuronspec.training.schedule import USUAL_WARMUP

METHODS = ("fine_tune", "neuron_specialization")

# Held-out sentences of each language: enough to judge by, and no more than there is time to translate
_VALID, _FEWEST_VALID = 300, 40
_TEST, _FEWEST_TEST = 400, 50
_MOST_HELD_OUT = 0.1  # share of the text

_PIECES_AT = 10_000  # pairs for which the next number is right; the size grows with the square root of the pairs
_PIECES = 800
_MOST_PIECES = 64_000

_LONG = 100  # words of a sentence that is hardly ever left out on purpose
_NEARLY_ALL = 0.995  # share of the pairs
_RATIO = 3  # words of one side for a word of the other
_FEWEST_ALIKE = 0.7  # share of the pairs of every language that this must leave


@dataclass
class Settings:
    """The values of a configuration, by dotted keys in the order of the file, and reasons for some of them.

    Attributes:
        values: Value by key.
        reasons: Sentence about a value by key, or about a section by its name.
    """

    values: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def set(self, key: str, value: Any, reason: str = "") -> None:
        """Set a value, and the reason for it."""
        self.values[key] = value
        if reason:
            self.reasons[key] = reason


def choose_hold_out(found: Discovery) -> dict[str, tuple[float, str]]:
    """Return the share of the training text to hold out for each part that some language has no text for.

    The share is the same for all languages, because a sentence is held out in all of them or in none.
    """
    trained = found.count_pairs("train")
    shares = {}
    for part, wanted, fewest in (("valid", _VALID, _FEWEST_VALID), ("test", _TEST, _FEWEST_TEST)):
        own = found.count_pairs(part)  # type: ignore[arg-type]
        missing = {pair: count for pair, count in trained.items() if not own[pair] and count}
        if missing:
            shares[part] = _choose_share(missing, wanted, fewest)
    return shares


def _choose_share(counts: dict[str, int], wanted: int, fewest: int) -> tuple[float, str]:
    """Return the share that leaves enough sentences in the largest text, and at least a few in the smallest one."""
    largest, smallest = max(counts.values()), min(counts.values())
    share = max(wanted / largest, fewest / smallest)
    share = _round_up(min(share, _MOST_HELD_OUT))

    low, high = round(share * smallest), round(share * largest)
    amount = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    each = f" of each of {len(counts)} languages" if len(counts) > 1 else ""
    return share, f"about {amount} pairs{each}"


def _round_up(share: float) -> float:
    """Return a share with two significant digits.

    Example:
        >>> _round_up(0.00123), _round_up(0.1)
        (0.0013, 0.1)
    """
    digits = 1 - math.floor(math.log10(share))
    scale = 10.0**digits
    return min(_MOST_HELD_OUT, math.ceil(round(share * scale, 6)) / scale)


def choose_vocabulary_size(amounts: TextAmounts, languages: int) -> int:
    """Return the number of pieces for an amount of text: no more than the text gives.

    Args:
        amounts: Amounts of the training text.
        languages: Number of languages, the pivot included.
    """
    usual = _PIECES * math.sqrt(amounts.total / _PIECES_AT) * (1 + languages / 30)

    # Every character needs a piece; a small text gives few pieces.
    wanted = max(500, min(_MOST_PIECES, usual), 1.5 * amounts.characters)
    size = min(wanted, amounts.pieces) if amounts.whole or amounts.pieces < wanted <= _PIECES else wanted
    step = 500 if size > 2_000 else 100 if size > 300 else 1
    return max(64, int(size // step * step))


def choose_data(settings: Settings, found: Discovery) -> None:
    """Set the shares to hold out."""
    for part, (share, reason) in choose_hold_out(found).items():
        settings.set(f"data.hold_out.{part}", share, reason)


def choose_preparation(settings: Settings, amounts: TextAmounts, size: int, budget: Budget) -> None:
    """Set cleaning and vocabulary."""
    settings.set("prepare.max_words", budget.max_words, _explain_limit(amounts, budget.max_words))
    settings.set("prepare.max_length_ratio", *_choose_ratio(amounts))
    settings.set("prepare.drop_held_out", True, "no training sentence is also in the test text")
    settings.set("prepare.vocabulary.size", size, f"{describe_size(size)} vocabulary for {amounts.total:,} pairs")


def _explain_limit(amounts: TextAmounts, words: int | None) -> str:
    """Return how much of the text is left by a limit on the words of a sentence, and what it is good for."""
    if words is None:
        return "no limit: the sentences are long, so that any limit would leave too few of some language"
    share = amounts.limit(words).total / amounts.total
    if words >= _LONG or share > _NEARLY_ALL:
        return ""

    # The language that loses most
    pair, least = amounts.share_within(words)
    of_one = f" ({pair}: {100 * least:.0f} %)" if len(amounts.pairs) > 1 else ""
    short = "short sentences only, from which a model learns soonest; give more --minutes for longer ones"
    return f"{100 * share:.0f} % of the pairs{of_one}: {short}"


def _choose_ratio(amounts: TextAmounts) -> tuple[int | None, str]:
    """Return the largest ratio of the words of two sides; None where a language is written without spaces."""
    pair, kept = amounts.share_alike(_RATIO)
    if kept >= _FEWEST_ALIKE:
        return _RATIO, f"training pairs with {_RATIO} times as many words on one side are dropped"
    return None, f"no limit: words cannot be compared in {pair}, where one side has few spaces"


def describe_size(pieces: int) -> str:
    """Return a word for the size of a vocabulary."""
    return "a small" if pieces < 8_000 else "a middle-sized" if pieces < 30_000 else "a large"


def choose_training(settings: Settings, budget: Budget, *, pretrained: bool) -> None:
    """Set the two trainings: updates that fit into the time, and a schedule that fits the updates."""
    # The model that is specialized: the learning rate stays high until the continued training.
    if not pretrained:
        settings.reasons["train"] = "the multilingual model; its learning rate falls only in the continued training"
        _set_training(settings, "train", updates=budget.updates, rate=budget.learning_rate, budget=budget)
        settings.set("train.warmup", share_of(budget.updates, USUAL_WARMUP), "a tenth of the updates")
        settings.set("train.schedule", "constant")

    settings.reasons["continued"] = "the same for every method, with the same batches"
    _set_training(settings, "continued", updates=budget.continued, rate=budget.learning_rate, budget=budget)
    settings.set("continued.warmup", share_of(budget.continued, USUAL_WARMUP) if pretrained else 0)
    settings.set("continued.schedule", "constant")
    settings.set("continued.decay", 0.8 if pretrained else 1.0, "the learning rate falls to 0")


def _set_training(settings: Settings, section: str, *, updates: int, rate: float, budget: Budget) -> None:
    settings.set(f"{section}.updates", updates, budget.describe(updates))
    settings.set(f"{section}.learning_rate", rate)
    settings.set(f"{section}.validate_every", max(1, math.ceil(updates / 5)))
    settings.set(f"{section}.checkpoint_every", max(1, math.ceil(updates / 10)))
    settings.set(f"{section}.patience", None)


def share_of(updates: int, share: float) -> int:
    """Return a share of a number of updates, at least one where there are some."""
    return max(1, round(share * updates)) if updates else 0


def choose_translation(settings: Settings, amounts: TextAmounts, *, pretrained: bool) -> None:
    """Set decoding and scoring."""
    beams, reason = (5, "") if pretrained else (1, "fast; 5 beams are a little better and take several times as long")
    settings.set("translate.beams", beams, reason)
    longest = _find_longest_output(amounts)
    settings.set("translate.max_tokens", longest, f"99 % of the sentences have at most {amounts.longest}")
    settings.set("score.metrics", ["bleu", "chrf"])
    settings.set("score.trials", 1_000)


def _find_longest_output(amounts: TextAmounts) -> int:
    """Return the number of tokens that an output can have: somewhat more than nearly all sentences have."""
    return int(max(20, min(200, 10 * math.ceil(1.2 * amounts.longest / 10))))
