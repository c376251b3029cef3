"""Checks of text: empty, identical and repeated sentences, leaks between parts, other languages, and alignment."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from neuronspec.checking.problem import Problem, list_places
from neuronspec.checking.text_sample import PairText, SentencePair
from neuronspec.data.leakage import HELD_OUT
from neuronspec.data.normalization import comparison_form, hash_forms
from neuronspec.data.texts import TEXT_PARTS
from neuronspec.evaluation.identification import (
    MAX_REFERENCE_ERROR,
    NO_LANGUAGE,
    LanguageCounts,
    choose_identifier,
    judge,
)
from neuronspec.evaluation.identifiers import DEFAULT_IDENTIFIER
from neuronspec.languages import find_language

# Shares above which something is worth knowing, and above which it spoils the training
NOTED, HARMFUL = 0.01, 0.1
# Numbers of sentences below which little is learned, and below which scores vary by chance
LITTLE_TRAINING, LITTLE_TEST = 1_000, 100
_JUDGED = 100  # sentences of a language in each part whose language is identified
_COPYING = {"train": "teaches a model to copy", "valid": "copying predicts", "test": "copying gets right"}
_FAR = 3.0  # times that the lengths of two sides may differ from what is usual, before they look misaligned


def check_text(
    texts: Sequence[PairText], *, drops_held_out: bool = False, identifier: str = DEFAULT_IDENTIFIER
) -> Iterator[Problem]:
    """Yield the problems of all text.

    Args:
        texts: Text of each pair of languages.
        drops_held_out: Whether training pairs that share a sentence with held-out text are left out anyway.
        identifier: Name of the language identifier.
    """
    yield from _check_dropped(texts)
    for part in TEXT_PARTS:
        yield from _check_empty(texts, part)
        yield from _check_amounts(texts, part)
        yield from _check_sentences(texts, part)
        for text in texts:
            name = f"{part} text of {text.pair}"
            yield from _check_alignment(text.parts[part], name)
            yield from _check_languages(text.parts[part], text.languages, name, identifier=identifier)

    yield from _check_leaks(texts, drops_held_out)


def _check_dropped(texts: Sequence[PairText]) -> Iterator[Problem]:
    """Yield a note about training pairs that cleaning leaves out, if they are many."""
    places = []
    for text in texts:
        read, kept = text.counts["read"], text.counts["kept"]
        if read - kept > HARMFUL * read:
            reasons = [f"{count:,} {name}" for name, count in text.counts.most_common() if name not in ("read", "kept")]
            places.append(f"{text.pair} {read - kept:,} of {read:,} ({', '.join(reasons)})")
    if places:
        yield Problem(
            level="note", subject="train text", message=f"prepare leaves out training pairs: {list_places(places)}"
        )


def _check_empty(texts: Sequence[PairText], part: str) -> Iterator[Problem]:
    """Yield an error about pairs of languages without text."""
    empty = [text.pair for text in texts if part in text.whole and not text.parts[part]]
    if empty:
        more = f", or a larger data.hold_out.{part}" if part != "train" else ""
        yield Problem(
            level="error",
            subject=f"{part} text",
            message=f"there is no {part} text of {list_places(empty)}",
            fix=f"give it as data.{part}{more}",
        )


def _check_amounts(texts: Sequence[PairText], part: str) -> Iterator[Problem]:
    """Yield a note about text that is too little to learn from, or to measure with."""
    least = LITTLE_TRAINING if part == "train" else LITTLE_TEST
    counts = {text.pair: len(text.parts[part]) for text in texts if part in text.whole}
    few = [f"{pair} {count:,}" for pair, count in counts.items() if 0 < count < least]
    if few:
        outcome = "a model hardly learns to translate from so few" if part == "train" else "results from so few vary"
        yield Problem(
            level="note",
            subject=f"{part} text",
            message=f"there are few {part} sentences: {list_places(few)}; {outcome}",
            fix=f"give {least:,} or more",
        )


def _check_sentences(texts: Sequence[PairText], part: str) -> Iterator[Problem]:
    """Yield the problems of single sentences: empty, identical and repeated ones."""
    counts = {text.pair: _count_sentences(text.parts[part]) for text in texts if text.parts[part]}
    sizes = {text.pair: len(text.parts[part]) for text in texts}
    kept = "take them out of the files"
    remarks = (
        ("empty", "are empty on a side", "prepare leaves them out"),
        ("identical", f"are the same on both sides, which {_COPYING[part]}", kept),
        ("repeated", "come more than once", "prepare keeps one of each" if part == "train" else kept),
    )
    for key, what, fix in remarks:
        shares = {pair: found[key] / sizes[pair] for pair, found in counts.items()}
        places = [f"{pair} {counts[pair][key]:,} of {sizes[pair]:,}" for pair, share in shares.items() if share > NOTED]
        if places:
            harmful = fix is kept and max(shares.values()) > HARMFUL
            yield Problem(
                level="warning" if harmful else "note",
                subject=f"{part} text",
                message=f"some {part} pairs {what}: {list_places(places)}",
                fix=fix,
            )


def _count_sentences(pairs: Sequence[SentencePair]) -> Counter[str]:
    """Return the numbers of pairs that are empty on a side, identical on both, or repeated."""
    counts: Counter[str] = Counter()
    seen: set[int] = set()
    for first, second in pairs:
        forms = comparison_form(first), comparison_form(second)
        number = hash_forms(*forms)
        counts["empty"] += not all(forms)
        counts["identical"] += bool(forms[0]) and forms[0] == forms[1]
        counts["repeated"] += number in seen
        seen.add(number)
    return counts


def _check_alignment(pairs: Sequence[SentencePair], name: str) -> Iterator[Problem]:
    """Yield a warning if the lengths of the two sides differ too often to be translations."""
    ratios = [len(first) / len(second) for first, second in pairs if first.strip() and second.strip()]
    if len(ratios) < LITTLE_TEST:
        return
    usual = statistics.median(ratios)
    far = sum(not usual / _FAR <= ratio <= usual * _FAR for ratio in ratios)
    if far > HARMFUL * len(ratios):
        yield Problem(
            level="warning",
            subject=name,
            message=f"in {far:,} of {len(ratios):,} pairs of the {name} one side is over {_FAR:g} times as long as "
            "usual for the other: they look misaligned",
            fix="check that the files are aligned line by line, or set prepare.max_length_ratio=3",
        )


def _check_languages(
    pairs: Sequence[SentencePair], languages: tuple[str, str], name: str, *, identifier: str
) -> Iterator[Problem]:
    """Yield a warning for each side that is in another language, or for both if they are swapped."""
    # Sentences from everywhere in the text, always the same
    sample = pairs[:: max(1, len(pairs) // _JUDGED)]
    foreign: dict[int, _ForeignSide] = {}
    accepted_by = [choose_identifier(find_language(code), identifier)[1] for code in languages]
    for side, code in enumerate(languages):
        found = _judge_side([pair[side] for pair in sample], code, identifier)
        if found is not None:
            foreign[side] = found

    # Each side in the language of the other one
    if len(foreign) == 2 and all(foreign[side].other in accepted_by[1 - side] for side in foreign):
        yield Problem(
            level="warning",
            subject=name,
            message=f"the sides of the {name} look swapped: {languages[0]} looks like {foreign[0].other}, and "
            f"{languages[1]} like {foreign[1].other}",
            fix="exchange the files, or the columns with columns: [2, 1]",
        )
        return

    for side, found in foreign.items():
        yield Problem(
            level="warning",
            subject=name,
            message=f"{found.counts.foreign} of {found.counts.judged} sentences on the {languages[side]} side of the "
            f"{name} look like another language, most often {found.other}",
            fix="check that the right file or column is read for each language",
        )


@dataclass(frozen=True)
class _ForeignSide:
    """A side that is in another language than it should be.

    Attributes:
        counts: Numbers of sentences that were judged, and that are in another language.
        other: Label of the most frequent other language.
    """

    counts: LanguageCounts
    other: str


def _judge_side(sentences: Sequence[str], code: str, identifier: str) -> _ForeignSide | None:
    """Return in which language a side is instead of its own; None if it is right, or cannot be identified."""
    identify, accepted, _ = choose_identifier(find_language(code), identifier)
    if identify is None:
        return None

    counts = judge(sentences, identify, accepted)
    if counts.lower_bound <= MAX_REFERENCE_ERROR:
        return None
    others = Counter(label for label in map(identify, sentences) if label not in accepted and label not in NO_LANGUAGE)
    return _ForeignSide(counts, others.most_common(1)[0][0])


def _check_leaks(texts: Sequence[PairText], drops_held_out: bool) -> Iterator[Problem]:
    """Yield a problem for each part that shares sentences with another one, in any pair of languages."""
    # Sentences are known in their language, whatever pair they come with, as in `prepare`.
    sentences = {part: _hash_sentences(texts, part) for part in TEXT_PARTS}
    for part in HELD_OUT:
        shared = _count_shared(texts, part, sentences["train"])
        total = sum(len(text.parts[part]) for text in texts)
        if shared and not drops_held_out:
            yield Problem(
                level="warning" if shared > NOTED * total else "note",
                subject=f"{part} text",
                message=f"{shared:,} of {total:,} {part} pairs have a sentence that is also in the training text"
                f"{_limit_claim(texts, 'train')}",
                fix="prepare.drop_held_out=true leaves such pairs out of the training text",
            )

    shared = _count_shared(texts, "test", sentences["valid"])
    total = sum(len(text.parts["test"]) for text in texts)
    if shared > NOTED * total:
        yield Problem(
            level="note",
            subject="test text",
            message=f"{shared:,} of {total:,} test pairs have a sentence that is also in the validation text, on which "
            "the checkpoint is chosen and neurons are recorded",
            fix="validate on other text",
        )


def _hash_sentences(texts: Sequence[PairText], part: str) -> set[tuple[str, int]]:
    """Return the sentences of a part as numbers, each with its language."""
    found = set()
    for text in texts:
        for sides in text.parts[part]:
            for code, sentence in zip(text.languages, sides, strict=True):
                found.add((code, hash_forms(comparison_form(sentence))))
    return found


def _count_shared(texts: Sequence[PairText], part: str, known: set[tuple[str, int]]) -> int:
    """Return the number of pairs of a part that have a known sentence on either side."""
    shared = 0
    for text in texts:
        for sides in text.parts[part]:
            numbers = (
                (code, hash_forms(comparison_form(side))) for code, side in zip(text.languages, sides, strict=True)
            )
            shared += any(number in known for number in numbers)
    return shared


def _limit_claim(texts: Sequence[PairText], part: str) -> str:
    """Return a remark for text of which only a part was read."""
    if all(part in text.whole for text in texts):
        return ""
    return ", as far as that was read"
