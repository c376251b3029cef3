"""From corpora to clean text on disk: read, normalize, drop, hold out, and say what was dropped."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from neuronspec.config.schema import Config
from neuronspec.config.sections import Corpus, Data
from neuronspec.data.cleaning import clean_pairs
from neuronspec.data.configured_corpora import check_templates, choose_corpora
from neuronspec.data.corpora import read_pairs
from neuronspec.data.corpus_formats import Pair
from neuronspec.data.holdout import choose_part
from neuronspec.data.leakage import drop_held_out, measure_leakage, report_leakage
from neuronspec.data.texts import STATISTICS_FILE, TEXT_PARTS, Texts, assign_pairs
from neuronspec.errors import NeuronspecError
from neuronspec.files import publish, write_json
from neuronspec.languages import split_direction
from neuronspec.progress import show_progress

SentencePair = tuple[str, str]
"""A sentence in the first and in the second language of a pair."""


def prepare_text(config: Config, directory: Path) -> Texts:
    """Read all corpora of a configuration and write them as clean, split text.

    Args:
        config: Configuration with the corpora, the tasks, and what to drop and hold out.
        directory: Directory to write; it appears whole or not at all.

    Returns:
        The prepared text.

    Raises:
        NeuronspecError: If a corpus is missing or broken, or a direction is left without text.
    """
    data = config.data

    # Two opposite directions share one text.
    assigned = assign_pairs(config.directions(), config.pivot)
    pairs = list(dict.fromkeys(pair for pair, _ in assigned.values()))
    check_templates(data, pairs, config.pivot)

    with publish(directory) as temporary, show_progress("reading the text", len(pairs)) as advance:
        temporary.mkdir()
        texts = Texts(temporary, sizes={part: {} for part in TEXT_PARTS})
        for pair in pairs:
            _write_pair(config, pair, texts)
            _refuse_empty(data, pair, texts)
            advance(note=pair)

        # Only now is all held-out text known: what one pair holds out, another may train on.
        if config.prepare.drop_held_out:
            _drop_held_out(data, pairs, texts)
        overlap = measure_leakage(pairs, texts.path)
        report_leakage(overlap, texts.sizes)

        statistics = {"sizes": texts.sizes, "dropped": texts.dropped, "overlap": overlap}
        write_json(temporary / STATISTICS_FILE, statistics)
    return Texts(directory, sizes=texts.sizes, dropped=texts.dropped, overlap=overlap)


def _write_pair(config: Config, pair: str, texts: Texts) -> None:
    """Write the files of a pair of languages, and count in `texts` what was written and dropped."""
    written = dict.fromkeys(TEXT_PARTS, 0)
    counts: Counter[str] = Counter()

    # All parts are open at once: the text of a pair goes to them line by line.
    with ExitStack() as stack:
        files = {}
        for part in TEXT_PARTS:
            file = texts.path(part, pair).open("w", encoding="utf-8", newline="\n")
            files[part] = stack.enter_context(file)

        for part, sides in _assign_parts(config, pair=pair, counts=counts):
            files[part].write("\t".join(sides) + "\n")
            written[part] += 1

    for part, count in written.items():
        texts.sizes[part][pair] = count
    texts.dropped[pair] = dict(counts)


def _assign_parts(config: Config, *, pair: str, counts: Counter[str]) -> Iterator[tuple[str, SentencePair]]:
    """Yield the clean sentences of a pair of languages, each with the part that it belongs to.

    Args:
        config: Configuration with the corpora, the shares to hold out, and the limits on the training text.
        pair: Pair of languages.
        counts: Counts of what happened to the training text; see `clean_pairs`.
    """
    data, cleaning = config.data, config.prepare
    corpora, limits = choose_corpora(data, pair, config.pivot)

    # The training text, cleaned, of which some sentences are held out.
    training = clean_pairs(
        _read_corpora(corpora["train"], pair),
        min_source_words=cleaning.min_words,
        max_words=cleaning.max_words,
        max_ratio=cleaning.max_length_ratio,
        deduplicate=cleaning.deduplicate,
        drop_matching=cleaning.drop_matching,
        counts=counts,
    )
    for sides in training:
        yield choose_part(sides[0], limits), sides  # by the pivot, where the pair has it

    # From corpora that are given for validation or test, only empty pairs are dropped.
    for part in ("valid", "test"):
        for sides in clean_pairs(_read_corpora(corpora[part], pair), deduplicate=False, counts=Counter()):
            yield part, sides


def _read_corpora(corpora: Sequence[Corpus], pair: str) -> Iterator[Pair]:
    first, second = split_direction(pair)
    readers = (read_pairs(one.path, first, second, format=one.format, columns=one.columns) for one in corpora)
    return itertools.chain.from_iterable(readers)


def _drop_held_out(data: Data, pairs: Sequence[str], texts: Texts) -> None:
    """Take the held-out sentences out of the training text, and out of its counts."""
    for pair, count in drop_held_out(pairs, texts.path).items():
        texts.sizes["train"][pair] -= count
        texts.dropped[pair]["kept"] -= count
        texts.dropped[pair]["held out"] = count
        _refuse_empty(data, pair, texts)


def _refuse_empty(data: Data, pair: str, texts: Texts) -> None:
    for part in TEXT_PARTS:
        if not texts.sizes[part][pair]:
            raise NeuronspecError(f"{pair} has no {part} pairs: {_explain_empty(data, part, texts.dropped[pair])}")


def _explain_empty(data: Data, part: str, counts: Mapping[str, int]) -> str:
    """Return what happened to the pairs of a part without text, and what to change."""
    dropped = ", ".join(f"{count} {reason}" for reason, count in counts.items() if reason not in ("read", "kept"))
    details = f" (dropped: {dropped})" if dropped else ""
    found = f"{counts.get('read', 0)} were read, {counts.get('kept', 0)} kept{details}"

    # Corpora that hold some languages only may leave out this one.
    if not counts.get("read") and any(corpus.languages for corpus in data.train):
        return f"{found}; give text in both languages, or name them in the languages of its corpus in data.train"

    # Validation and test text has its own corpora, or is held out of the training text.
    if part != "train" and (not getattr(data, part) or getattr(data.hold_out, part)):
        return f"{found}; give data.{part}, more text, or a larger data.hold_out.{part}"
    if counts.get("held out"):
        return f"{found}; give more text, or leave prepare.drop_held_out out"
    return f"{found}; give more text, or relax prepare.min_words and prepare.max_words"
