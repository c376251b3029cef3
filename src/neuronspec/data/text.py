"""From corpora to clean text on disk: read, normalise, drop, hold out, and say what was dropped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from neuronspec.config.schema import Config
from neuronspec.config.sections import Corpus, Data
from neuronspec.data.cleaning import clean_pairs, held_out_share
from neuronspec.data.formats import read_pairs, tell_by_suffix
from neuronspec.data.leakage import Overlap, drop_held_out, measure_overlap, report_overlap
from neuronspec.data.streams import ARCHIVE_PATH
from neuronspec.errors import NeuronspecError
from neuronspec.files import publish, read_json, write_json
from neuronspec.languages import join_direction, split_direction
from neuronspec.names import child
from neuronspec.progress import show_progress

PARTS = ("train", "valid", "test")
STATISTICS_FILE = "statistics.json"


@dataclass(frozen=True)
class Texts:
    """The prepared text of a run: `{part}.{pair}.tsv` files of `first<TAB>second` lines.

    Args:
        directory: where they are.
        sizes: for each part and pair, the number of pairs of sentences.
        dropped: for each pair, how many pairs were read, kept, and dropped for which reason.
        overlap: for each pair and for `valid` and `test`, how many pairs have a sentence that is also in `train`: on
            `either` side, on the `first` or the `second`, or on `both` as the same pair; empty if not counted.
    """

    directory: Path
    sizes: dict[str, dict[str, int]]
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    overlap: Overlap = field(default_factory=dict)

    def path(self, part: str, pair: str) -> Path:
        """Return the file of a part (`train`, `valid`, `test`) and a pair of languages."""
        return child(self.directory, f"{part}.{pair}", ".tsv")

    @classmethod
    def load(cls, directory: Path) -> Texts:
        """Open prepared text."""
        return cls(directory, **read_json(directory / STATISTICS_FILE))


def pairs_of(tasks: list[str], pivot: str) -> dict[str, tuple[str, int]]:
    """Return, for each task, the pair of languages that holds its text and the side of its source.

    Args:
        tasks: directions.
        pivot: comes first in its pairs.

    Example:
        >>> pairs_of(["en-de", "de-en"], "en")
        {'en-de': ('en-de', 0), 'de-en': ('en-de', 1)}
    """
    pairs: dict[str, tuple[str, int]] = {}
    known: set[str] = set()
    for task in tasks:
        source, target = split_direction(task)
        backward = join_direction(target, source)
        turned = backward in known or target == pivot
        pairs[task] = (backward, 1) if turned else (task, 0)
        known.add(pairs[task][0])
    return pairs


def check_templates(data: Data, pairs: Sequence[str], pivot: str) -> None:
    """Refuse tables whose names and columns do not tell pairs of languages apart.

    Raises:
        NeuronspecError: such a template would give the pivot's text for another language's, or one text for several
            languages.
    """
    for corpus in (*data.train, *data.valid, *data.test):
        if not _is_table(corpus):
            continue
        named = " ".join([corpus.path, *map(str, corpus.columns or [])])
        if "{src}" in named or "{tgt}" in named:
            continue
        if "{lang}" not in named and len(pairs) > 1:
            raise NeuronspecError(
                f"{corpus.path} is one table for {', '.join(pairs[:3])}, which would all get the same text: "
                "write {lang}, or {src} and {tgt}, in its name or in its columns"
            )
        alone = next((pair for pair in pairs if pivot not in split_direction(pair)), None)
        if "{lang}" in named and alone is not None:
            raise NeuronspecError(
                f"{corpus.path} names one language only, which pairs it with {pivot}: for {alone} write "
                "{src} and {tgt} in the name"
            )


def _is_table(corpus: Corpus) -> bool:
    by_name = corpus.format == "auto" and tell_by_suffix(corpus.path) == "tsv"
    return corpus.format == "tsv" or corpus.columns is not None or by_name


def prepare_text(config: Config, directory: Path) -> Texts:
    """Read all corpora of a configuration and write them as clean, split text.

    Args:
        config: which corpora, for which tasks, and what to drop and hold out.
        directory: where to write; it appears whole or not at all.

    Returns:
        What was written.

    Raises:
        NeuronspecError: a corpus is missing or broken, or a direction is left without text.
    """
    sizes: dict[str, dict[str, int]] = {part: {} for part in PARTS}
    dropped: dict[str, dict[str, int]] = {}
    pairs = list(dict.fromkeys(pair for pair, _ in pairs_of(config.directions(), config.pivot).values()))
    check_templates(config.data, pairs, config.pivot)
    with publish(directory) as temporary, show_progress("reading the text", len(pairs)) as advance:
        temporary.mkdir()
        for pair in pairs:
            counts: Counter[str] = Counter()
            written = _write_pair(config.data, pair, config.pivot, temporary, counts)
            dropped[pair] = dict(counts)
            for part in PARTS:
                sizes[part][pair] = written[part]
            _refuse_empty(config.data, pair, sizes, dropped)
            advance(note=pair)
        texts = Texts(temporary, sizes, dropped)
        if config.data.drop_held_out:
            _drop_held_out(config.data, pairs, texts)
        overlap = measure_overlap(pairs, texts.path)
        report_overlap(overlap, sizes)
        write_json(temporary / STATISTICS_FILE, {"sizes": sizes, "dropped": dropped, "overlap": overlap})
    return Texts(directory, sizes, dropped, overlap)


def _drop_held_out(data: Data, pairs: Sequence[str], texts: Texts) -> None:
    """Take the held-out sentences out of the training text, and out of its counts."""
    for pair, count in drop_held_out(pairs, texts.path).items():
        texts.sizes["train"][pair] -= count
        texts.dropped[pair]["kept"] -= count
        texts.dropped[pair]["held out"] = count
        _refuse_empty(data, pair, texts.sizes, texts.dropped)


def _refuse_empty(
    data: Data, pair: str, sizes: Mapping[str, Mapping[str, int]], dropped: Mapping[str, Mapping[str, int]]
) -> None:
    for part in PARTS:
        if not sizes[part][pair]:
            raise NeuronspecError(f"{pair} has no {part} pairs: {_explain(data, part, dropped[pair])}")


def list_corpus_files(corpora: list[Corpus]) -> list[Path]:
    """Return the files that corpora may read from, for telling whether one has changed."""
    files: set[Path] = set()
    for corpus in corpora:
        if corpus.path.startswith("hub:"):
            continue
        parts = ARCHIVE_PATH.fullmatch(corpus.path)
        assert parts is not None  # a path is never empty
        pattern = Path(re.sub(r"\{\w+\}", "*", parts[1] or parts[2]))
        fixed = [part for part in pattern.parts if "*" not in part]
        root = Path(*fixed[: next((n for n, part in enumerate(pattern.parts) if "*" in part), len(fixed))])
        found = [root] if root == pattern else root.glob(str(pattern.relative_to(root)))
        files.update(path for path in found if path.exists())
    return sorted(files)


def _write_pair(data: Data, pair: str, pivot: str, directory: Path, counts: Counter[str]) -> Counter[str]:
    first, second = split_direction(pair)
    written: Counter[str] = Counter()
    limits = data.hold_out
    with ExitStack() as stack:
        files: dict[str, TextIO] = {
            part: stack.enter_context(
                child(directory, f"{part}.{pair}", ".tsv").open("w", encoding="utf-8", newline="\n")
            )
            for part in PARTS
        }

        def write(part: str, sides: tuple[str, str]) -> None:
            files[part].write("\t".join(sides) + "\n")
            written[part] += 1

        for sides in _read(data.train, first, second, data, counts):
            share = held_out_share(sides[0])  # the pivot, where the pair has it
            if share < limits.test:
                write("test", sides)
            elif share < limits.test + limits.valid:
                write("valid", sides)
            else:
                write("train", sides)
        for part in ("valid", "test"):
            for sides in _read(getattr(data, part), first, second, None, Counter()):
                write(part, sides)
    return written


def _read(
    corpora: list[Corpus], first: str, second: str, limits: Data | None, counts: Counter[str]
) -> Iterator[tuple[str, str]]:
    """Yield clean pairs; of corpora of their own for testing, only empty pairs go."""
    pairs = (
        pair for corpus in corpora for pair in read_pairs(corpus.path, first, second, corpus.format, corpus.columns)
    )
    if limits is None:
        return clean_pairs(pairs, deduplicate=False, counts=counts)
    return clean_pairs(
        pairs,
        min_source_words=limits.min_words,
        max_words=limits.max_words,
        max_ratio=limits.max_length_ratio,
        deduplicate=limits.deduplicate,
        drop_matching=limits.drop_matching,
        counts=counts,
    )


def _explain(data: Data, part: str, counts: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{number} {reason}" for reason, number in counts.items() if reason not in ("read", "kept"))
    told = (
        f"{counts.get('read', 0)} were read, {counts.get('kept', 0)} kept{f' (dropped: {reasons})' if reasons else ''}"
    )
    if part != "train" and not getattr(data, part):
        return f"{told}; give data.{part}, more text, or a larger data.hold_out.{part}"
    if counts.get("held out"):
        return f"{told}; give more text, or leave data.drop_held_out out"
    return f"{told}; give more text, or relax data.min_words and data.max_words"
