"""Broken translations that no metric shows: in the wrong language, empty, copied, looping or far too long.

A corpus score is an average, and a few broken sentences hide in it. Here every sentence is checked alone, and the
share of the broken ones is reported. The checks are heuristics: they point at sentences to read, and the error rates
stated here were measured on FLORES-200 (dev, 30 languages of the paper and English) and NTREX-128, not on system
output.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuronspec.data.normalization import comparison_form
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.identification import (
    MAX_REFERENCE_ERROR,
    LanguageCounts,
    add_notes,
    choose_identifier,
    count_verdicts,
    judge_each,
)
from neuronspec.evaluation.identifiers import DEFAULT_IDENTIFIER, sign_identifier
from neuronspec.languages import find_language

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

# A loop: at least three times the same characters in a row, in a stretch of at least 16 characters ...
LOOP_TIMES, LOOP_CHARACTERS, LOOP_PERIOD = 3, 16, 60
# ... or the same four words three times, and two times more often than in the reference.
LOOP_WORDS, LOOP_COUNT, LOOP_EXCESS = 4, 3, 2
_LOOKS = 5  # places in a row that are compared before a loop is searched for
# Over-long: more than twice the characters of the reference, and ten.
LONG_RATIO, LONG_SLACK = 2.0, 10
# The ways in which a translation is broken; each is also a field of `Quality`.
OFF_TARGET = "off_target"
BROKEN_KINDS = (OFF_TARGET, "empty", "copied", "repeated", "over_long")
# Tokenized: half of the commas and final full stops have a space before them, or one line in fifty has a trace.
TOKENIZED_SHARE, TRACE_SHARE = 0.5, 0.02


@dataclass(frozen=True)
class Quality:
    """The shares of broken sentences in one set of translations, each 0..1.

    Attributes:
        sentences: Number of sentences.
        identified: Number of hypotheses that were long enough to identify their language.
        off_target: Share of those whose language is not the target; None if it is unknown.
        off_target_references: Share of the references that are called another language, which is the identifier's
            own error rate on this text; None if no reference is long enough. An `off_target` near it means nothing;
            one far above it is real.
        off_target_note: Reason why `off_target` is None, other languages that count as the target, or a limit of the
            result; often empty.
        empty: Share with nothing but white space and invisible characters, where the reference has something.
        copied: Share equal to the source apart from case, white space and punctuation, where the reference is not;
            None if the sources are not known.
        repeated: Share caught in a loop, where the reference is not.
        over_long: Share more than twice as long as the reference, plus ten characters.
        identifier: Signature of the language identifier: its name and version.
        length_ratio: Mean over sentences of hypothesis characters divided by reference characters, where the
            reference is not empty; None if every reference is. A few loops raise it: compare it with `repeated`.
    """

    sentences: int
    identified: int
    off_target: float | None
    off_target_references: float | None
    off_target_note: str
    empty: float
    copied: float | None
    repeated: float
    over_long: float
    length_ratio: float | None
    identifier: str = ""


def assess(
    hypotheses: Sequence[str],
    sources: Sequence[str] | None,
    references: Sequence[str],
    target_language: str,
    *,
    identifier: str = DEFAULT_IDENTIFIER,
) -> Quality:
    """Count the sentences that are broken in a way that BLEU and chrF++ do not show.

    Use it together with the scores, above all for zero-shot directions, where a model may answer in the wrong
    language, and for low-resource ones, where it may loop or copy.

    The language is the one that the identifier finds most probable (what follows was measured with py3langid), for
    sentences of at least 40 letters (a Chinese character, kana or Hangul syllable counts as three, a guess that was not
    measured). Of the FLORES and NTREX references of that length, 0.2 % are called off-target: at worst 2.3 % (Tigrinya)
    and 1.5 % (Amharic), elsewhere at most 0.7 %; of those with 40 to 60 letters, 0.6 %. Of sentences cut at 40 letters
    it is 1.3 %; at 16 letters it would be 9 %. If more than a fifth of the references is called another language, the
    identifier does not know this language well enough and off-target is unknown (95 % confidence, by Wilson's interval:
    1 reference of 1 or 4 of 8, but not 1 of 2); if it is more than 5 %, the note says so. Conversely, of 300 FLORES
    sentences in each other language at least 99.3 % are found off-target, but 97.6 % if Amharic is the target and the
    output is Tigrinya. Numbers and markup are not counted either way. Languages other than the paper's thirty were not
    measured: compare `off_target_references`.

    Two translations of one sentence differ in length, too: of NTREX sentences in two languages, scaled to the same
    mean length, 0.05 % would be over-long; of FLORES sentences, 0.01 %.

    Args:
        hypotheses: Detokenized translations, one for each sentence; may be empty strings.
        sources: Sentences that were translated, in the same order; None if they are not known.
        references: Reference translations in the same order.
        target_language: Language they should be in, in any spelling.
        identifier: Name of the language identifier, in `IDENTIFIERS`.

    Returns:
        The shares.

    Raises:
        NeuronspecError: If there are no sentences, the numbers of lines differ, something is not text, the target
            language cannot be a code, or py3langid is needed and not installed.

    Example:
        >>> quality = assess(["Das ist gut.", ""], ["This is good.", "Yes."], ["Das ist gut.", "Ja."], "de")
        >>> quality.empty, quality.copied, quality.length_ratio
        (0.5, 0.0, 0.5)
        >>> quality.off_target is None, quality.off_target_note
        (True, 'no hypothesis has the 40 letters that identification needs')
    """
    return assess_each(hypotheses, sources, references, target_language, identifier=identifier)[0]


def assess_each(
    hypotheses: Sequence[str],
    sources: Sequence[str] | None,
    references: Sequence[str],
    target_language: str,
    *,
    identifier: str = DEFAULT_IDENTIFIER,
) -> tuple[Quality, dict[str, BoolArray]]:
    """Return the shares of `assess`, and the sentences of `find_broken`, whose languages are identified only once.

    Args:
        hypotheses: Detokenized translations, one for each sentence; may be empty strings.
        sources: Sentences that were translated, in the same order; None if they are not known.
        references: Reference translations in the same order.
        target_language: Language they should be in, in any spelling.
        identifier: Name of the language identifier, in `IDENTIFIERS`.

    Raises:
        NeuronspecError: If `assess` would refuse the sentences.
    """
    _check_aligned(hypotheses, sources, references)
    judgment = _judge_languages(hypotheses, references, target_language, identifier)
    broken = _find_language(judgment) | find_other_kinds(hypotheses, sources, references)

    # Lengths are compared where the reference has something.
    lengths, expected = _measure_lengths(hypotheses), _measure_lengths(references)  # (sentences,) each
    filled = expected > 0
    ratios = lengths[filled] / expected[filled]

    shares = {kind: float(found.mean()) for kind, found in broken.items()}
    quality = Quality(
        sentences=len(hypotheses),
        identified=judgment.hypotheses.judged,
        off_target=judgment.hypotheses.share if judgment.is_known else None,
        off_target_references=judgment.references.share,
        off_target_note=judgment.note,
        empty=shares["empty"],
        copied=shares.get("copied"),
        repeated=shares["repeated"],
        over_long=shares["over_long"],
        length_ratio=float(ratios.mean()) if len(ratios) else None,
        identifier=sign_identifier(identifier),
    )
    return quality, broken


def find_broken(
    hypotheses: Sequence[str],
    sources: Sequence[str] | None,
    references: Sequence[str],
    target_language: str,
    *,
    identifier: str = DEFAULT_IDENTIFIER,
) -> dict[str, BoolArray]:
    """Return which sentences are broken in which way: those that `assess` counts.

    Args:
        hypotheses: Detokenized translations, one for each sentence; may be empty strings.
        sources: Sentences that were translated, in the same order; None if they are not known.
        references: Reference translations in the same order.
        target_language: Language they should be in, in any spelling.
        identifier: Name of the language identifier, in `IDENTIFIERS`.

    Returns:
        A boolean for each sentence, (sentences,), by kind, in the order of `BROKEN_KINDS`; a kind is left out where
        `assess` says that it is unknown.

    Raises:
        NeuronspecError: If `assess` would refuse the sentences.

    Example:
        >>> found = find_broken(["Das ist gut.", ""], None, ["Das ist gut.", "Ja."], "de")
        >>> found["empty"].tolist(), "copied" in found
        ([False, True], False)
    """
    return assess_each(hypotheses, sources, references, target_language, identifier=identifier)[1]


@dataclass(frozen=True)
class _Judgment:
    """Verdicts about the language of hypotheses, and what the references say about the identifier.

    Attributes:
        foreign: Verdict about each hypothesis; None where it was not judged.
        hypotheses: Counts of the hypotheses.
        references: Counts of the references.
        note: Note about the language, or why the share is unknown.
        is_known: True if the verdicts mean something.
    """

    foreign: Sequence[bool | None]
    hypotheses: LanguageCounts
    references: LanguageCounts
    note: str
    is_known: bool


def _judge_languages(
    hypotheses: Sequence[str], references: Sequence[str], target_language: str, identifier: str
) -> _Judgment:
    """Return whether hypotheses are in their target language, as far as that can be found out."""
    identify, accepted, note = choose_identifier(find_language(target_language), identifier)
    if identify is None:
        return _Judgment((), LanguageCounts(), LanguageCounts(), note, is_known=False)

    # The references show whether the identifier knows the language. If not, its answers mean nothing.
    foreign = judge_each(hypotheses, identify, accepted)
    counts = count_verdicts(foreign)
    of_references = count_verdicts(judge_each(references, identify, accepted))
    return _Judgment(
        foreign=foreign,
        hypotheses=counts,
        references=of_references,
        note=add_notes(note, counts, of_references, identifier),
        is_known=of_references.lower_bound <= MAX_REFERENCE_ERROR,
    )


def _find_language(judgment: _Judgment) -> dict[str, BoolArray]:
    """Return which sentences are in another language, if that is known."""
    # Off-target is unknown where no hypothesis could be judged, too.
    if not judgment.is_known or not judgment.hypotheses.judged:
        return {}
    return {OFF_TARGET: np.array([verdict is True for verdict in judgment.foreign], dtype=np.bool_)}


def find_other_kinds(
    hypotheses: Sequence[str], sources: Sequence[str] | None, references: Sequence[str]
) -> dict[str, BoolArray]:
    """Return which sentences are broken in a way that is not about their language, in the order of `BROKEN_KINDS`.

    Args:
        hypotheses: Detokenized translations, one for each sentence.
        sources: Sentences that were translated, in the same order; None if they are not known.
        references: Reference translations in the same order.
    """
    lengths, expected = _measure_lengths(hypotheses), _measure_lengths(references)  # (sentences,) each
    filled = expected > 0

    found = {"empty": filled & (lengths == 0)}
    if sources is not None:
        found["copied"] = find_copies(hypotheses, sources, references)
    found["repeated"] = find_loops(hypotheses, references)
    found["over_long"] = filled & (lengths > LONG_RATIO * expected + LONG_SLACK)
    return found


def find_copies(hypotheses: Sequence[str], sources: Sequence[str], references: Sequence[str]) -> BoolArray:
    """Return which hypotheses equal their source apart from case, white space and punctuation.

    A sentence whose reference equals the source too (a name, a number), or without letters and digits, is no
    copy. Partial copies are not found here; `off_target` counts most of them.

    Returns:
        A boolean for each sentence, (sentences,).

    Example:
        >>> find_copies(["ok , go!", "Berlin"], ["OK, go!", "Berlin"], ["Gut, los!", "Berlin"]).tolist()
        [True, False]
    """
    triples = zip(map(_fold, hypotheses), map(_fold, sources), map(_fold, references), strict=True)
    return np.array([h == s != r and h != "" for h, s, r in triples], dtype=np.bool_)


def find_loops(hypotheses: Sequence[str], references: Sequence[str]) -> BoolArray:
    """Return which hypotheses repeat themselves as no natural sentence does.

    A hypothesis is a loop if it has a stretch of at least 16 characters in which the same up to 60 characters
    come three or more times in a row; or if the same four words come three or more times, and two times more
    often than in the reference. If the reference has such a stretch too ("no, no, no, no, no!"), a stretch in
    the hypothesis does not count.

    Of 92,814 references of FLORES and NTREX 0.03 % have such a stretch and 0.04 % such words, most of them
    translations of the same few lists; so the reference hardly ever excuses a real loop.
    Of 2,500 FLORES sentences cut off by a loop of one to six words, four to twelve times, 99.4 % are found.

    Returns:
        A boolean for each sentence, (sentences,).

    Example:
        >>> find_loops(["a dog a dog a dog a dog", "a big dog"], ["a dog", "a big dog"]).tolist()
        [True, False]
    """
    stretches, counts = _find_stretches(hypotheses), _count_words(hypotheses)  # (sentences,) each

    # Either kind of loop counts, unless the reference has it as well: only few references are read.
    suspects = np.flatnonzero(stretches | (counts >= LOOP_COUNT))
    expecting = [references[number] for number in suspects.tolist()]
    excused, expected = _find_stretches(expecting), _count_words(expecting)  # (suspects,) each

    found = np.zeros(len(hypotheses), dtype=np.bool_)
    found[suspects] = stretches[suspects] & ~excused
    found[suspects] |= counts[suspects] >= np.maximum(LOOP_COUNT, expected + LOOP_EXCESS)
    return found


def looks_tokenized(lines: Iterable[str]) -> bool:
    """Return whether a text looks as if a tokenizer such as Moses had split it.

    Scores of tokenized text cannot be compared with those of plain text: the paper's released references keep
    Indic words broken at their combining marks, which more than doubles BLEU for some languages. Two kinds of
    evidence count: at least half of the commas and final full stops have a space before them; or at least one line
    in fifty (always at least one) has a trace that no language writes: `@-@`, `&apos;` and `&quot;` that stand
    alone or where a word was split, an apostrophe between spaces, a split elision (`l' homme`, `d 'un`), a split
    English ending (`do n't`), a combining mark of an Indic or South-East Asian script after a space. French
    spacing before `! ? : ;` and Hindi spacing before the danda count as neither.

    Of the 31 NTREX texts tokenized with sacremoses (with and without escapes) all are recognized; of the original
    texts, none is called tokenized. Three of 31 FLORES texts are (Luxembourgish, Maltese, Occitan): the copy that
    was tried does write `d 'un`.

    The answer for a text of a few lines depends on a few marks. Text without commas and full stops, such as titles,
    gives no evidence; and a Chinese, Japanese or Thai text that was split into words is not recognized by its words,
    only by its punctuation.

    Args:
        lines: Text, one sentence for each line.

    Returns:
        True if it looks tokenized.

    Example:
        >>> looks_tokenized(["Well , it is a state @-@ of @-@ the @-@ art car ."])
        True
        >>> looks_tokenized(["Attention : est-ce vrai ? Oui, c'est vrai !"])
        False
    """
    # Lines; lines with a trace; punctuation with a space before it, and without.
    total, traces, spaced, attached = 0, 0, 0, 0
    for line in lines:
        total += 1
        traces += _TRACE.search(line) is not None
        spaced += len(_SPACED.findall(line))
        attached += len(_ATTACHED.findall(line))

    # A few clear traces are enough; spaces before punctuation must be the rule.
    if traces and traces >= TRACE_SHARE * total:
        return True
    return spaced > 0 and spaced >= TOKENIZED_SHARE * (spaced + attached)


# the combining marks (Mn, Mc) of the Indic scripts, Thai, Lao, Tibetan, Myanmar and Khmer
_COMBINING_MARKS = "".join(
    re.escape(chr(point))
    for first, last in ((0x0900, 0x0DFF), (0x0E00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF))
    for point in range(first, last + 1)
    if unicodedata.category(chr(point)) in ("Mn", "Mc")
)
_TRACE = re.compile(
    rf"""
    (?<!\S)@[-–/]@(?!\S)                              # state @-@ of @-@ the @-@ art
    | (?<!\S)&(?:apos|quot|\#91|\#93|\#124|bar);(?!\S)   # he said &quot; no &quot;
    | (?<!\S)&apos;\w | \w&apos;(?!\S)                # it &apos;s, l&apos; homme
    | \S\s['’]\s\S                                    # l ’ Assemblée, it ' s
    | (?<!\S)(?:[cdjlmnst]|qu)(?:['’]\s|\s['’])\w     # l' homme, d 'un
    | \w\s(?:n['’]t|['’](?:re|ve|ll))(?!\S)           # do n't, they 're
    | \s[{_COMBINING_MARKS}]                                    # कह ा
    """,
    re.VERBOSE | re.IGNORECASE,
)
_COMMAS = ",،፣，、"  # of Latin, Arabic, Ethiopic and Chinese script
# Commas, and full stops at the end of a line, with a space before them and without; not the comma of 1,000.
_SPACED = re.compile(rf"\S[ ][{_COMMAS}](?=\s|$)|\w[ ][.。](?=\s*$)")
_ATTACHED = re.compile(rf"\S[{_COMMAS}](?!\d)|\w[.。](?=\s*$)")


def _check_aligned(hypotheses: Sequence[str], sources: Sequence[str] | None, references: Sequence[str]) -> None:
    texts = {"hypotheses": hypotheses, "references": references}
    if sources is not None:
        texts = {"hypotheses": hypotheses, "sources": sources, "references": references}

    # Lists of text, without None: a missing translation is an empty string.
    for name, lines in texts.items():
        if isinstance(lines, str):
            raise NeuronspecError(f"the {name} are one string; give a list of sentences")
        for number, line in enumerate(lines, start=1):
            if not isinstance(line, str):
                raise NeuronspecError(
                    f"sentence {number} of the {name} is {line!r}; expected text, an empty string where there is none"
                )

    # Unequal numbers of lines mean that sentences are not aligned.
    if len({len(lines) for lines in texts.values()}) > 1:
        counts = ", ".join(f"{len(lines)} {name}" for name, lines in texts.items())
        raise NeuronspecError(
            f"there are {counts}; each line needs its source and reference on the same line, so look for lost, "
            "empty or doubled lines"
        )
    if not hypotheses:
        raise NeuronspecError("there are no sentences to assess; give at least one, with its source and reference")


def _measure_lengths(texts: Sequence[str]) -> IntArray:
    """Return the number of visible characters of each text, with runs of white space as one."""
    return np.array([len(comparison_form(text)) for text in texts], dtype=np.int64)


def _fold(text: str) -> str:
    # One form for full-width and other variants, without case; then letters, digits and combining marks only.
    folded = unicodedata.normalize("NFKC", comparison_form(text)).casefold()
    return "".join(c for c in folded if c.isalnum() or unicodedata.category(c)[0] == "M")


def _find_stretches(texts: Sequence[str]) -> BoolArray:
    """Return which texts have a stretch that repeats itself, for all texts and one period at a time."""
    tidied = [comparison_form(text) for text in texts]

    # One array of all characters; each text ends in a number of its own, so no stretch runs from text to text.
    parts = [[*map(ord, text), -number] for number, text in enumerate(tidied, start=1)]
    codes = np.array(list(itertools.chain(*parts)), dtype=np.int64)  # (characters,)
    ends = np.cumsum([len(part) for part in parts])  # (sentences,)
    found = np.zeros(len(texts), dtype=np.bool_)

    for period in range(1, min(LOOP_PERIOD, len(codes) - 1) + 1):
        shortest = max((LOOP_TIMES - 1) * period, LOOP_CHARACTERS - period)
        if not _may_repeat(codes, period, shortest):
            continue

        # Breaks are where a character differs from the one a period later.
        breaks = np.flatnonzero(codes[period:] != codes[:-period])
        breaks = np.concatenate([[-1], breaks, [len(codes) - period]])

        # Between two breaks each character equals the one a period later: that many, and a period, are a stretch.
        long = np.diff(breaks) - 1 >= shortest

        # The text of a stretch is the first that ends after the stretch begins.
        found[np.searchsorted(ends, breaks[:-1][long] + 1, side="right")] = True
    return found


def _may_repeat(codes: IntArray, period: int, shortest: int) -> bool:
    """Return whether `shortest` characters in a row may equal the one a period later, judging by some of them."""
    # So many characters in a row hold at least as many places as are compared here.
    step = shortest // _LOOKS
    same = codes[period::step] == codes[:-period:step]
    together = same
    for shift in range(1, _LOOKS):
        together = together[:-1] & same[shift:]
    return bool(together.any())


def _count_words(texts: Sequence[str]) -> IntArray:
    """Return how often the most frequent run of four words occurs in each text."""
    counts = []
    for text in texts:
        words = comparison_form(text).casefold().split()

        # The words, and the same words from the second, third and fourth on, side by side.
        runs = Counter(zip(*(words[start:] for start in range(LOOP_WORDS)), strict=False))
        counts.append(max(runs.values(), default=0))
    return np.array(counts, dtype=np.int64)
