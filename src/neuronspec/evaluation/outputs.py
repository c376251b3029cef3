"""Reading other systems' translations, so that they are scored and tested like ours.

A system's output is a file with one sentence a line or a log of `fairseq-generate`, the form in which the paper's
authors and many others publish theirs.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from neuronspec.data.streams import read_lines
from neuronspec.errors import NeuronspecError
from neuronspec.languages import is_known, suggest_language
from neuronspec.languages.meaning import read_code
from neuronspec.libraries import import_library
from neuronspec.registry import Registry


@dataclass(frozen=True)
class Outputs:
    """What one system made of one test set, sentence by sentence.

    Args:
        hypotheses: the system's translations.
        references: the reference translations in the same order, or None where nothing gave them.
        sources: the source sentences in the same order, or None.
        name: what to call the system, in tables and messages.

    Raises:
        NeuronspecError: the numbers of sentences differ.

    Example:
        >>> Outputs(hypotheses=("Hallo",), references=("Hallo", "Welt"))
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: there is 1 hypothesis, but there are 2 references; each needs its partner
    """

    hypotheses: tuple[str, ...]
    references: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    name: str = "system"

    def __post_init__(self) -> None:
        count = len(self.hypotheses)
        for what, texts in (("references", self.references), ("sources", self.sources)):
            if texts is not None and len(texts) != count:
                first = "is 1 hypothesis" if count == 1 else f"are {count} hypotheses"
                second = f"is 1 {what.removesuffix('s')}" if len(texts) == 1 else f"are {len(texts)} {what}"
                raise NeuronspecError(f"there {first}, but there {second}; each needs its partner")


@dataclass(frozen=True)
class Content:
    """What a reader found in one file.

    Args:
        hypotheses: the translations.
        references: the references that stand in the same file, if any do.
        sources: the sources that stand in the same file, if any do.
        detokenized: whether the hypotheses are detokenized already, while the references are not.
    """

    hypotheses: tuple[str, ...]
    references: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    detokenized: bool = False


OutputReader = Callable[[Path, Sequence[str]], Content]

OUTPUT_FORMATS: Registry[OutputReader] = Registry("output format")
"""Every format of translations by name: `reader(path, lines)` takes the file's lines; `path` is for messages."""


def read_outputs(
    path: str | Path,
    *,
    references: str | Path | None = None,
    sources: str | Path | None = None,
    format: str = "auto",
    detokenize: str | None = None,
    name: str | None = None,
) -> Outputs:
    """Read the translations of another system, with their references and sources where there are any.

    A text file is taken as it is. From a log of `fairseq-generate`, sentences come in the order of their numbers,
    each with its best hypothesis (the `D-` line, where the log has them); language tags, SentencePiece and BPE
    marks are taken away. `<unk>` stays what it is, a fault of the system's.

    The references in a log are the training data's tokens glued together again, not the test set's text. For
    scores that compare with others', give the file of raw references, which then stands in their place.

    Args:
        path: the translations: one sentence a line, or a log; plain or compressed (.gz, .bz2, .xz, .zst).
        references: a text file with one reference a line; None takes those of the log, if it has any.
        sources: a text file with one source a line; None takes those of the log, if it has any.
        format: a name in `OUTPUT_FORMATS`, `lines` or `fairseq`; `"auto"` tells it from what stands in the file.
        detokenize: the language of the translations, to undo Moses tokenization with the library sacremoses in
            the hypotheses and in the references of a log. Files of references and sources, and the sources of a
            log, whose language is another, stay as they are.
        name: what to call the system; by default the file's name.

    Returns:
        The sentences, in the order of the test set.

    Raises:
        NeuronspecError: a file is missing, empty, damaged or not UTF-8, a log is incomplete or contradicts itself,
            the files differ in length, or the format or the language is unknown.

    Example:
        >>> import tempfile
        >>> log = "S-0\\t__en__ ▁Good ▁morn ing\\nT-0\\t▁Guten ▁Morgen\\nH-0\\t-0.4\\t▁Guten ▁Tag\\n"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "generate-test.txt")
        ...     _ = file.write_text(log, encoding="utf-8")
        ...     outputs = read_outputs(file, name="mT-big")
        >>> outputs.sources, outputs.references, outputs.hypotheses
        (('Good morning',), ('Guten Morgen',), ('Guten Tag',))
    """
    path = Path(path)
    restore = None if detokenize is None else _load_detokenizer(detokenize)
    lines = _read_text(path)
    content = OUTPUT_FORMATS[_detect(lines) if format == "auto" else format](path, lines)
    outputs = Outputs(content.hypotheses, content.references, content.sources, name or path.name)
    if restore is not None and not content.detokenized:
        outputs = replace(outputs, hypotheses=restore(outputs.hypotheses))
    if references is not None:
        outputs = replace(outputs, references=_read_aligned(Path(references), "reference", path, outputs))
    elif restore is not None and outputs.references is not None:
        outputs = replace(outputs, references=restore(outputs.references))
    elif content.detokenized and outputs.references is not None:
        raise NeuronspecError(
            f"{path} holds detokenized hypotheses (D-), but tokenized references (T-), which must not be compared; "
            "give the file of raw references, or the language to detokenize"
        )
    if sources is not None:
        outputs = replace(outputs, sources=_read_aligned(Path(sources), "source", path, outputs))
    return outputs


def _read_text(path: Path) -> tuple[str, ...]:
    lines = tuple(read_lines(path))
    if not lines:
        raise NeuronspecError(f"{path} is empty; expected one sentence a line, or a log of fairseq-generate")
    return lines


def _read_aligned(path: Path, what: str, translations: Path, outputs: Outputs) -> tuple[str, ...]:
    """Read a text file that goes with the translations line by line."""
    lines = _read_text(path)
    count = len(outputs.hypotheses)
    if len(lines) != count:
        lonely = (
            f"sentence {len(lines) + 1} of {translations} has no {what}"
            if len(lines) < count
            else f"{path}:{count + 1} has no translation"
        )
        raise NeuronspecError(
            f"{lonely}: {translations} has {_count(count, 'sentence')}, but {path} has {_count(len(lines), 'line')}; "
            "they must be aligned line by line"
        )
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _load_detokenizer(language: str) -> Callable[[Iterable[str]], tuple[str, ...]]:
    if not is_known(language):  # sacremoses takes a misspelt code for English, in silence
        raise NeuronspecError(
            f"unknown language {language!r}{suggest_language(language)}: Moses has no rules to detokenize it; give a "
            "code of ISO 639, or text that is detokenized already"
        )
    code = read_code(language).language
    sacremoses = import_library("sacremoses", "detokenizing", "moses")
    detokenizer = sacremoses.MosesDetokenizer(lang=code)
    return lambda texts: tuple(str(detokenizer.detokenize(text.split())) for text in texts)


@OUTPUT_FORMATS.register("lines")
def _take_lines(path: Path, lines: Sequence[str]) -> Content:
    return Content(tuple(lines))


class Record(NamedTuple):
    """One line of a log: its number, what it says, and how likely the system found it."""

    line: int
    text: str
    score: float = 0.0


Log = dict[str, dict[int, list[Record]]]  # by letter and by sentence

_LETTERS = "STHDP"
_RECORD = re.compile(r"([STHDP])-([0-9]{1,18})(?:\t(.*))?", re.DOTALL)
_NUMBER = r"[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?|inf|nan)"
_UNMISTAKABLE = re.compile(rf"(?=[ST]|[HDP]-[0-9]+\t{_NUMBER}(?:[\t ]|$))([STHDP])-([0-9]{{1,18}})\t")
_MESSAGE = re.compile(r"[0-9-]+ [0-9:]+ \| [A-Z]+ \| |\| (?:Translated|Generate) |Generate \S+ with beam=")
_TRANSLATED = re.compile(r"\bTranslated ([0-9][0-9,]{0,18}) sentences")
_TAGS = re.compile(r"\A(?:__[a-z]{2,3}(?:[-_][A-Za-z]{2,4})?__ ?)+")
_BPE = re.compile(r"(?<=\S)@@(?: |$)")


def _detect(lines: Sequence[str]) -> str:
    """Tell a log from a text: a log has several kinds of lines for one sentence, or hardly any other lines."""
    letters = defaultdict(set)
    count = 0
    for line in lines:
        if found := _UNMISTAKABLE.match(line):
            letters[found[2]].add(found[1])
        count += bool(found or _MESSAGE.match(line))
    is_log = any(len(kinds) > 1 for kinds in letters.values()) or count * 2 > sum(1 for line in lines if line.strip())
    return "fairseq" if is_log else "lines"


@OUTPUT_FORMATS.register("fairseq")
def _read_log(path: Path, lines: Sequence[str]) -> Content:
    log = _collect(path, lines)
    _check_sentences(path, log)
    _check_repeats(path, log)
    _check_total(path, lines, len(log["H"]))
    best = {letter: [_best(records[number]).text for number in sorted(records)] for letter, records in log.items()}
    sides = {letter: _join(texts) for letter, texts in best.items() if texts and letter != "P"}
    hypotheses = sides.get("D", sides["H"])
    detokenized = [text.split() for text in hypotheses] != [text.split() for text in sides["H"]]
    return Content(hypotheses, sides.get("T"), sides.get("S"), detokenized)


def _collect(path: Path, lines: Sequence[str]) -> Log:
    """Sort the lines that speak of sentences by letter and sentence; the others are the program's own messages."""
    log: Log = {letter: defaultdict(list) for letter in _LETTERS}
    for number, line in enumerate(lines, 1):
        found = _RECORD.fullmatch(line)
        if not found:
            continue
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
        log[letter][sentence].append(Record(number, text.replace("\t", " "), score))
    if not log["H"]:
        raise NeuronspecError(
            f"{path} has no H- line among its {_count(len(lines), 'line')}; "
            "expected a log of fairseq-generate with a hypothesis for every sentence"
        )
    return log


def _check_sentences(path: Path, log: Log) -> None:
    """Refuse a log that lacks sentences, or a line of one."""
    first: dict[int, int] = {}
    for kind in log.values():
        for number, records in kind.items():
            first[number] = min(records[0].line, first.get(number, records[0].line))
    counts = ", ".join(f"{len(kind)} {letter}-" for letter, kind in log.items() if kind)
    for letter, kind in log.items():
        lacking = sorted(first.keys() - kind.keys())
        if kind and lacking:
            raise NeuronspecError(
                f"{path}:{first[lacking[0]]} speaks of sentence {lacking[0]}, which has no {letter}- line "
                f"(sentences with each: {counts}); the log is cut off or damaged, make it anew"
            )
    for expected, number in enumerate(sorted(first)):
        if number != expected:
            raise NeuronspecError(
                f"{path} lacks sentence {expected}, though {path}:{first[number]} has sentence {number}; the log is "
                "cut off, or fairseq left out long sentences: run it without --skip-invalid-size-inputs-valid-test"
            )
    for letter in "DP":  # they come with every hypothesis
        for number, records in log[letter].items():
            hypotheses = log["H"][number]
            if len(records) != len(hypotheses):
                raise NeuronspecError(
                    f"{path}:{hypotheses[-1].line} has sentence {number} with {_count(len(hypotheses), 'H- line')}, "
                    f"but {_count(len(records), f'{letter}- line')}; the log is cut off or damaged, make it anew"
                )


def _check_repeats(path: Path, log: Log) -> None:
    """Refuse a log that contradicts itself: several hypotheses are a list of the best, several sources are not."""
    for letter in "ST":
        for number, (first, *others) in log[letter].items():
            for other in others:
                if other.text != first.text:
                    raise NeuronspecError(
                        f"{path}:{other.line} has another text for {letter}-{number} than line {first.line}; "
                        "give the log of each test set a file of its own"
                    )
            if others and len({record.text for record in log["H"][number]}) > 1:
                raise NeuronspecError(
                    f"{path}:{others[0].line} repeats {letter}-{number} of line {first.line}, with another hypothesis; "
                    "give the log of each run a file of its own"
                )


def _check_total(path: Path, lines: Sequence[str], count: int) -> None:
    """Compare with what fairseq itself says at the end: `Translated 2,009 sentences`; of several runs, the sum."""
    found = [
        (number, int(said[1].replace(",", "")))
        for number, line in enumerate(lines, 1)
        if not _RECORD.fullmatch(line) and (said := _TRANSLATED.search(line))
    ]
    totals = [total for _, total in found]
    if totals and count not in {*totals, sum(totals)}:
        number, total = found[-1]
        raise NeuronspecError(
            f"{path}:{number} says that {_count(total, 'sentence')} came out, but the log has {count}; "
            "it is cut off or damaged, make it anew"
        )


def _best(records: Sequence[Record]) -> Record:
    return max(records, key=lambda record: -math.inf if math.isnan(record.score) else record.score)


def _join(texts: Sequence[str]) -> tuple[str, ...]:
    """Make text of one side of a log: language tags and the marks of word pieces go.

    The mark of SentencePiece is a character that a text may hold too: it counts where half the lines have it.
    """
    texts = [_TAGS.sub("", text.strip(" ")) for text in texts]
    filled = [text for text in texts if text]
    if filled and 2 * sum("▁" in text for text in filled) >= len(filled):
        return tuple(text.replace(" ", "").replace("▁", " ").strip(" ") for text in texts)
    return tuple(_BPE.sub("", text).strip(" ") for text in texts)
