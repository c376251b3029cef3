"""Reading the translations of other systems, to score and test them like ours.

A system's output is a file with one sentence on each line, or a log of `fairseq-generate`, the form in which the
paper's authors and many others publish theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from neuronspec.data.streams import read_lines
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.fairseq_logs import is_fairseq_log, read_fairseq_log
from neuronspec.languages import is_known, suggest_language
from neuronspec.languages.meaning import read_code
from neuronspec.libraries import import_library
from neuronspec.reading_limits import TEXT
from neuronspec.registry import Registry
from neuronspec.statistics.numbers import count_noun

_LINE_BYTES = 100  # what a line takes in memory besides its characters


@dataclass(frozen=True)
class Outputs:
    """The translations of one system for one test set, sentence by sentence.

    Args:
        hypotheses: Translations of the system.
        references: Reference translations in the same order; None if there are none.
        sources: Source sentences in the same order; None if there are none.
        name: Name of the system, in tables and messages.

    Raises:
        NeuronspecError: If the numbers of sentences differ.

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
class OutputContent:
    """The content of one file of translations.

    Args:
        hypotheses: Translations.
        references: References in the same file, if it has any.
        sources: Sources in the same file, if it has any.
        detokenized: True if the hypotheses are detokenized already, while the references are not.
    """

    hypotheses: tuple[str, ...]
    references: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    detokenized: bool = False


OutputReader = Callable[[Path, Sequence[str]], OutputContent]

OUTPUT_FORMATS: Registry[OutputReader] = Registry("output format")
"""Every format of translations by name: `reader(path, lines)` reads a file's lines; `path` is for messages."""


def read_outputs(
    path: str | Path,
    *,
    references: str | Path | None = None,
    sources: str | Path | None = None,
    format: str = "auto",
    detokenize: str | None = None,
    name: str | None = None,
) -> Outputs:
    """Read the translations of another system, with their references and sources if there are any.

    A text file is read unchanged. From a log of `fairseq-generate`, sentences come in the order of their numbers,
    each with its best hypothesis (the `D-` line, where the log has them); language tags, SentencePiece and BPE
    marks are removed. `<unk>` is kept: it is an error of the system.

    The references in a log are the training data's tokens joined together again, not the text of the test set. For
    scores that are comparable with others, give the file of raw references, which then replaces them.

    Args:
        path: File of translations: one sentence on each line, or a log; plain or compressed (.gz, .bz2, .xz, .zst).
        references: Text file with one reference on each line; by default those of the log, if it has any.
        sources: Text file with one source on each line; by default those of the log, if it has any.
        format: Name in `OUTPUT_FORMATS`, `lines` or `fairseq`; `"auto"` recognizes it by the content of the file.
        detokenize: Language of the translations, to undo Moses tokenization with the library sacremoses in
            the hypotheses and in the references of a log. Files of references and sources are not changed, nor are
            the sources of a log, which are in another language.
        name: Name of the system; by default that of the file.

    Returns:
        The sentences, in the order of the test set.

    Raises:
        NeuronspecError: If a file is missing, empty, damaged or not UTF-8, a log is incomplete or contradicts itself,
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

    # The detokenizer first: an unknown language is refused before a large file is read.
    restore = None if detokenize is None else _load_detokenizer(detokenize)
    lines = _read_text(path)
    content = OUTPUT_FORMATS[_recognize(lines) if format == "auto" else format](path, lines)

    # Moses tokenization is undone where it was asked for, and not yet undone.
    outputs = Outputs(content.hypotheses, content.references, content.sources, name=name or path.name)
    if restore is not None and not content.detokenized:
        outputs = replace(outputs, hypotheses=restore(outputs.hypotheses))
    outputs = _choose_references(outputs, references, content, path=path, restore=restore)

    # Sources of a file replace those of the log, and are never detokenized.
    if sources is not None:
        outputs = replace(outputs, sources=_read_aligned(Path(sources), "source", translations=path, outputs=outputs))
    return outputs


def _choose_references(
    outputs: Outputs,
    references: str | Path | None,
    content: OutputContent,
    *,
    path: Path,
    restore: Callable[[Iterable[str]], tuple[str, ...]] | None,
) -> Outputs:
    """Return outputs with the references of a file, or else with those of the log in the form of the hypotheses."""
    # A file of raw references replaces those of a log.
    if references is not None:
        return replace(
            outputs, references=_read_aligned(Path(references), "reference", translations=path, outputs=outputs)
        )
    if outputs.references is None:
        return outputs

    # Hypotheses and references must have the same form: both detokenized, or neither.
    if restore is not None:
        return replace(outputs, references=restore(outputs.references))
    if content.detokenized:
        raise NeuronspecError(
            f"{path} holds detokenized hypotheses (D-), but tokenized references (T-), which must not be compared; "
            "give the file of raw references, or the language to detokenize"
        )
    return outputs


def _read_text(path: Path) -> tuple[str, ...]:
    lines, size = [], 0
    for line in read_lines(path):
        lines.append(line)
        size += len(line) + _LINE_BYTES
        if size > TEXT.largest:
            raise TEXT.refuse(f"{path} holds more text than", "expected the translations of a test set")

    if not lines:
        raise NeuronspecError(f"{path} is empty; expected one sentence a line, or a log of fairseq-generate")
    return tuple(lines)


def _read_aligned(path: Path, what: str, *, translations: Path, outputs: Outputs) -> tuple[str, ...]:
    """Read a text file that is aligned with the translations line by line."""
    lines = _read_text(path)
    count = len(outputs.hypotheses)
    if len(lines) == count:
        return lines

    # The error names the first line without a partner.
    if len(lines) < count:
        lonely = f"sentence {len(lines) + 1} of {translations} has no {what}"
    else:
        lonely = f"{path}:{count + 1} has no translation"
    raise NeuronspecError(
        f"{lonely}: {translations} has {count_noun(count, 'sentence')}, but {path} has "
        f"{count_noun(len(lines), 'line')}; they must be aligned line by line"
    )


def _load_detokenizer(language: str) -> Callable[[Iterable[str]], tuple[str, ...]]:
    """Return the function that undoes Moses tokenization in a language."""
    if not is_known(language):  # sacremoses silently treats a misspelt code as English
        raise NeuronspecError(
            f"unknown language {language!r}{suggest_language(language)}: Moses has no rules to detokenize it; give a "
            "code of ISO 639, or text that is detokenized already"
        )

    code = read_code(language).language
    sacremoses = import_library("sacremoses", "detokenizing", "moses")
    detokenizer = sacremoses.MosesDetokenizer(lang=code)
    return lambda texts: tuple(str(detokenizer.detokenize(text.split())) for text in texts)


def _recognize(lines: Sequence[str]) -> str:
    """Return the name of the format of a file."""
    return "fairseq" if is_fairseq_log(lines) else "lines"


@OUTPUT_FORMATS.register("lines")
def _read_sentences(path: Path, lines: Sequence[str]) -> OutputContent:
    return OutputContent(tuple(lines))


@OUTPUT_FORMATS.register("fairseq")
def _read_fairseq(path: Path, lines: Sequence[str]) -> OutputContent:
    return OutputContent(*read_fairseq_log(path, lines))
