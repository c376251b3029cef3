"""From corpora to clean text on disk: read, normalise, drop, hold out, and say what was dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from neuronspec.config.schema import Config
from neuronspec.config.sections import Corpus, Data
from neuronspec.data.cleaning import clean_pairs
from neuronspec.data.configured_corpora import check_templates
from neuronspec.data.corpora import read_pairs
from neuronspec.data.holdout import held_out_share
from neuronspec.data.leakage import drop_held_out, measure_overlap, report_overlap
from neuronspec.data.texts import PARTS, STATISTICS_FILE, Texts, assign_pairs
from neuronspec.errors import NeuronspecError
from neuronspec.files import publish, write_json
from neuronspec.languages import split_direction
from neuronspec.names import child
from neuronspec.progress import show_progress


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
    pairs = list(dict.fromkeys(pair for pair, _ in assign_pairs(config.directions(), config.pivot).values()))
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
