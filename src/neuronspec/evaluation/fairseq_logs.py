"""Reading logs of `fairseq-generate`, the form in which many systems' translations are published.

A log has several lines for each sentence: `S-` source, `T-` reference, `H-` hypothesis with its score, `D-` detokenized
hypothesis, `P-` scores of the tokens. A log that lacks sentences or contradicts itself is refused.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.numbers import count_noun

_LETTERS = "STHDP"
# A line about a sentence: letter, number, TAB, content. At most 18 digits, for Python refuses very long numbers.
_RECORD = re.compile(r"([STHDP])-([0-9]{1,18})(?:\t(.*))?", re.DOTALL)
_NUMBER = r"[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?|inf|nan)"
# A line that is hardly part of a text: after H-, D- and P-, a score must follow.
_UNMISTAKABLE = re.compile(rf"(?=[ST]|[HDP]-[0-9]+\t{_NUMBER}(?:[\t ]|$))([STHDP])-([0-9]{{1,18}})\t")
# Messages of the program, with or without the time in front, and the number of sentences in one of them.
_MESSAGE = re.compile(r"[0-9-]+ [0-9:]+ \| [A-Z]+ \| |\| (?:Translated|Generate) |Generate \S+ with beam=")
_TRANSLATED = re.compile(r"\bTranslated ([0-9][0-9,]{0,18}) sentences")
# What models read and write in addition to words: language tags (`__en__`), and subword-nmt's mark (`wo@@ rd`).
_TAGS = re.compile(r"\A(?:__[a-z]{2,3}(?:[-_][A-Za-z]{2,4})?__ ?)+")
_BPE = re.compile(r"(?<=\S)@@(?: |$)")

_AGAIN = "the log is cut off or damaged, make it again"


class LogRecord(NamedTuple):
    """One line of a log: its number, its text, and the system's score of it."""

    line: int
    text: str
    score: float = 0.0


class LogSides(NamedTuple):
    """The texts of a log, in the order of the sentences.

    Attributes:
        hypotheses: Translations, detokenized ones where the log has them.
        references: References, where the log has them.
        sources: Sources, where the log has them.
        detokenized: True if the hypotheses are detokenized already, while the references are not.
    """

    hypotheses: tuple[str, ...]
    references: tuple[str, ...] | None
    sources: tuple[str, ...] | None
    detokenized: bool


GenerateLog = dict[str, dict[int, list[LogRecord]]]  # by letter and by sentence


def is_fairseq_log(lines: Sequence[str]) -> bool:
    """Return whether lines are a log: it has several kinds of lines for one sentence, or hardly any other lines."""
    # The kinds of lines of each sentence; and how many lines a program must have written.
    letters = defaultdict(set)
    count = 0
    for line in lines:
        found = _UNMISTAKABLE.match(line)
        if found:
            letters[found[2]].add(found[1])
        if found or _MESSAGE.match(line):
            count += 1

    # A log may have a single kind of line for each sentence, but then hardly anything else.
    filled = sum(1 for line in lines if line.strip())
    return any(len(kinds) > 1 for kinds in letters.values()) or count * 2 > filled


def read_fairseq_log(path: Path, lines: Sequence[str]) -> LogSides:
    """Return the sentences of a log, each with its best hypothesis.

    Args:
        path: File of the log, for error messages.
        lines: Lines of the log.

    Raises:
        NeuronspecError: If the log is incomplete or contradicts itself.
    """
    # Logs that are cut off, damaged or several in one are refused: no score shows that sentences are missing.
    log = _collect(path, lines)
    _check_complete(path, log)
    _check_sentence_numbers(path, log)
    _check_hypotheses(path, log)
    _check_repeats(path, log)
    _check_total(path, lines, len(log["H"]))

    # Sentences in the order of their numbers, each with its best line of every kind.
    sides: dict[str, tuple[str, ...]] = {}
    for letter, records in log.items():
        texts = [_find_best(records[number]).text for number in sorted(records)]
        if texts and letter != "P":  # scores of tokens are no text
            sides[letter] = _join_pieces(texts)

    # D- lines differ from H- lines only if fairseq undid a tokenization.
    hypotheses = sides.get("D", sides["H"])
    detokenized = [text.split() for text in hypotheses] != [text.split() for text in sides["H"]]
    return LogSides(hypotheses, references=sides.get("T"), sources=sides.get("S"), detokenized=detokenized)


def _collect(path: Path, lines: Sequence[str]) -> GenerateLog:
    """Sort the lines about sentences by letter and sentence; the others are messages of the program."""
    log: GenerateLog = {letter: defaultdict(list) for letter in _LETTERS}
    for number, line in enumerate(lines, 1):
        found = _RECORD.fullmatch(line)
        if not found:
            continue

        # S-5 TAB text, but H-5 TAB score TAB text.
        letter, sentence, text = found[1], int(found[2]), found[3] or ""
        score = 0.0
        if letter in "HD":
            written, _, text = text.partition("\t")
            if not re.fullmatch(_NUMBER, written):
                raise NeuronspecError(
                    f"{path}:{number} has the score {written[:30]!r} for {letter}-{sentence}, which is no number; "
                    "expected a TAB, a number, a TAB and a text"
                )
            score = float(written)

        log[letter][sentence].append(LogRecord(number, text.replace("\t", " "), score))

    if not log["H"]:
        raise NeuronspecError(
            f"{path} has no H- line among its {count_noun(len(lines), 'line')}; "
            "expected a log of fairseq-generate with a hypothesis for every sentence"
        )
    return log


def _find_first_lines(log: GenerateLog) -> dict[int, int]:
    """Return the first line about each sentence."""
    first: dict[int, int] = {}
    for kind in log.values():
        for number, records in kind.items():
            line = records[0].line
            first[number] = min(line, first.get(number, line))
    return first


def _check_complete(path: Path, log: GenerateLog) -> None:
    """Refuse a log with a kind of line that some sentences lack."""
    first = _find_first_lines(log)
    for letter, kind in log.items():
        lacking = sorted(first.keys() - kind.keys())
        if kind and lacking:
            counts = ", ".join(f"{len(others)} {other}-" for other, others in log.items() if others)
            raise NeuronspecError(
                f"{path}:{first[lacking[0]]} speaks of sentence {lacking[0]}, which has no {letter}- line "
                f"(sentences with each: {counts}); {_AGAIN}"
            )


def _check_sentence_numbers(path: Path, log: GenerateLog) -> None:
    """Refuse a log that lacks sentences."""
    first = _find_first_lines(log)
    # fairseq numbers the sentences of a test set from 0 on.
    for expected, number in enumerate(sorted(first)):
        if number != expected:
            raise NeuronspecError(
                f"{path} lacks sentence {expected}, though {path}:{first[number]} has sentence {number}; the log is "
                "cut off, or fairseq left out long sentences: run it without --skip-invalid-size-inputs-valid-test"
            )


def _check_hypotheses(path: Path, log: GenerateLog) -> None:
    """Refuse a log with another number of `D-` or `P-` lines than hypotheses, for every hypothesis has one."""
    for letter in "DP":
        for number, records in log[letter].items():
            hypotheses = log["H"][number]
            if len(records) != len(hypotheses):
                raise NeuronspecError(
                    f"{path}:{hypotheses[-1].line} has sentence {number} with "
                    f"{count_noun(len(hypotheses), 'H- line')}, "
                    f"but {count_noun(len(records), f'{letter}- line')}; {_AGAIN}"
                )


def _check_repeats(path: Path, log: GenerateLog) -> None:
    """Refuse a log that contradicts itself: several hypotheses are a list of the best, several sources are not."""
    for letter in "ST":
        for number, (first, *others) in log[letter].items():
            # Different sources or references with one number come from different test sets.
            for other in others:
                if other.text != first.text:
                    raise NeuronspecError(
                        f"{path}:{other.line} has another text for {letter}-{number} than line {first.line}; "
                        "give the log of each test set a file of its own"
                    )

            # The same source twice, with different hypotheses, comes from two runs.
            if others and len({record.text for record in log["H"][number]}) > 1:
                raise NeuronspecError(
                    f"{path}:{others[0].line} repeats {letter}-{number} of line {first.line}, with another hypothesis; "
                    "give the log of each run a file of its own"
                )


def _check_total(path: Path, lines: Sequence[str], count: int) -> None:
    """Compare with fairseq's own number at the end, `Translated 2,009 sentences`; after several runs, with the sum."""
    found = list(_find_totals(lines))
    totals = [total for _, total in found]
    if totals and count not in {*totals, sum(totals)}:
        number, total = found[-1]
        raise NeuronspecError(
            f"{path}:{number} says that {count_noun(total, 'sentence')} came out, but the log has {count}; "
            "it is cut off or damaged, make it again"
        )


def _find_totals(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the lines with fairseq's numbers of sentences, and the numbers."""
    for number, line in enumerate(lines, 1):
        said = None if _RECORD.fullmatch(line) else _TRANSLATED.search(line)
        if said:
            yield number, int(said[1].replace(",", ""))


def _find_best(records: Sequence[LogRecord]) -> LogRecord:
    # A score of nan is never the best; comparisons with it would depend on the order.
    return max(records, key=lambda record: -math.inf if math.isnan(record.score) else record.score)


def _join_pieces(texts: Sequence[str]) -> tuple[str, ...]:
    """Return one side of a log as text, without language tags and the marks of word pieces.

    The mark of SentencePiece is a character that a text may contain too: it counts as a mark if half of the lines
    have it.
    """
    texts = [_TAGS.sub("", text.strip(" ")) for text in texts]

    # SentencePiece: spaces stand between pieces, and its mark is where the text has a space.
    filled = [text for text in texts if text]
    marked = sum("▁" in text for text in filled)
    if filled and 2 * marked >= len(filled):
        return tuple(text.replace(" ", "").replace("▁", " ").strip(" ") for text in texts)

    # BPE: a marked piece and the next one are one word.
    return tuple(_BPE.sub("", text).strip(" ") for text in texts)
