"""From corpora to clean text on disk: read, normalize, drop, hold out, and say what was dropped."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from neuronspec.config.schema import Config
from neuronspec.config.sections import Data
from neuronspec.data.cleaned_texts import CleanedText, join_shards
from neuronspec.data.configured_corpora import check_templates
from neuronspec.data.corpus_reading import CorpusReading, perform
from neuronspec.data.leakage import HELD_OUT, find_shared, report_leakage
from neuronspec.data.shards import Shard
from neuronspec.data.tasks import Meter, map_blocks
from neuronspec.data.texts import STATISTICS_FILE, TEXT_PARTS, Texts, assign_pairs
from neuronspec.errors import NeuronspecError
from neuronspec.files import publish, write_json
from neuronspec.progress import show_progress

logger = logging.getLogger(__name__)


def prepare_text(config: Config, directory: Path, workspace: Path | None = None) -> Texts:
    """Read all corpora of a configuration and write them as clean, split text.

    Corpora are read in blocks, which are cleaned in parallel where there is much text. The result depends on neither
    the number of workers nor the size of the blocks. Duplicates are recognized by 64-bit hashes of both sides: among n
    different pairs of a pair of languages, the chance that any is wrongly taken for another is n² / 2^65, which is 1 in
    10,000 for 61 million.

    Args:
        config: Configuration with the corpora, the tasks, and what to drop and hold out.
        directory: Directory to write; it appears whole or not at all.
        workspace: Directory that keeps finished blocks: after an interruption, or if the process was killed, the next
            call with the same workspace does not clean them again. The caller removes it in the end.

    Returns:
        The prepared text.

    Raises:
        NeuronspecError: If a corpus is missing or broken, or a direction is left without text.
    """
    # Two opposite directions share one text.
    assigned = assign_pairs(config.directions(), config.pivot)
    pairs = list(dict.fromkeys(pair for pair, _ in assigned.values()))
    check_templates(config.data, pairs, config.pivot)

    with publish(directory) as temporary:
        temporary.mkdir()
        texts = Texts(temporary, sizes={part: {} for part in TEXT_PARTS})
        shards = temporary / ".shards" if workspace is None else workspace
        cleaned = _clean_corpora(config, pairs, shards, texts)

        # Only now is all held-out text known: what one pair holds out, another may train on.
        _compare_parts(config, cleaned, texts)
        report_leakage(texts.overlap, texts.sizes)

        _write_lines(cleaned, texts)
        statistics = {"sizes": texts.sizes, "dropped": texts.dropped, "overlap": texts.overlap}
        write_json(temporary / STATISTICS_FILE, statistics)
        if workspace is None:
            shutil.rmtree(shards, ignore_errors=True)
    return Texts(directory, sizes=texts.sizes, dropped=texts.dropped, overlap=texts.overlap)


def _clean_corpora(config: Config, pairs: Sequence[str], folder: Path, texts: Texts) -> list[CleanedText]:
    """Return the clean text of all pairs of languages, and count in `texts` what is kept and dropped."""
    reading = CorpusReading(config, pairs, folder)
    cleaned: list[CleanedText] = []
    shards: list[Shard] = []

    meter = Meter(reading.size)
    results = map_blocks(perform, reading.list_steps(), lambda step: step.lines)
    with show_progress("reading the text (MiB)", meter.total) as advance, closing(results):
        for result in results:
            advance(meter.add(result.read), note=result.pair)
            if result.shard is not None:
                shards.append(result.shard)
                continue

            # The text of a pair is complete.
            text = join_shards(result.pair, shards, deduplicate=config.prepare.deduplicate)
            _count(text, texts)
            _refuse_empty(config.data, text.pair, texts)
            cleaned.append(text)
            shards = []
    return cleaned


def _count(text: CleanedText, texts: Texts) -> None:
    """Count the text of a pair of languages in `texts`."""
    for part in TEXT_PARTS:
        texts.sizes[part][text.pair] = text.count_kept(part)
    texts.dropped[text.pair] = text.counts


def _compare_parts(config: Config, cleaned: Sequence[CleanedText], texts: Texts) -> None:
    """Count the held-out sentences that are also in the training text, or take those out of it."""
    shared = find_shared(cleaned)

    if config.prepare.drop_held_out:
        dropped = {one.text.pair: one.drop_known() for one in shared}
        for text in cleaned:
            text.counts["kept"] -= dropped[text.pair]
            text.counts["held out"] = dropped[text.pair]
            _count(text, texts)
            _refuse_empty(config.data, text.pair, texts)
        logger.info("train: %d pairs with a sentence of valid or test are left out", sum(dropped.values()))

    for one in shared:
        texts.overlap[one.text.pair] = {part: one.count_met(part) for part in HELD_OUT}


def _write_lines(cleaned: Sequence[CleanedText], texts: Texts) -> None:
    """Write the files of all parts and pairs of languages."""
    with show_progress("writing the text", len(cleaned)) as advance:
        for text in cleaned:
            for part in TEXT_PARTS:
                text.write(part, texts.path(part, text.pair))
            advance(note=text.pair)


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
