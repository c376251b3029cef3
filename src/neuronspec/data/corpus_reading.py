"""The corpora of a configuration as jobs: blocks to read and to clean, in the order of the text."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuronspec.config.schema import Config
from neuronspec.config.sections import Corpus, HoldOut
from neuronspec.data.blocks import Block, divide_lines, divide_pairs
from neuronspec.data.configured_corpora import choose_corpora, list_corpus_files
from neuronspec.data.corpora import find_lines, read_pairs
from neuronspec.data.corpus_formats import LineText
from neuronspec.data.shards import CleaningJob, Shard, clean_block
from neuronspec.data.texts import TEXT_PARTS
from neuronspec.data.zip_files import split_archive
from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_json
from neuronspec.languages import split_direction
from neuronspec.names import child
from neuronspec.version import __version__

_UNPACKED = 3  # bytes of text in a byte of a compressed file, to show progress


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of reading the text of a pair of languages: a block, or the end of the text.

    Attributes:
        pair: Pair of languages.
        job: Block to clean; None at the end of the pair's text, and where reading failed.
        failure: Error that ended the reading. It is raised when it is this step's turn, as if nothing were read ahead.
        read: Number of bytes of files that have been read with this step, about.
    """

    pair: str
    job: CleaningJob | None = None
    failure: NeuronspecError | None = None
    read: int = 0

    @property
    def lines(self) -> int:
        """Number of lines to clean."""
        return 0 if self.job is None else self.job.block.count


@dataclass(frozen=True)
class StepResult:
    """The result of a step.

    Attributes:
        pair: Pair of languages.
        shard: Shard of the block; None at the end of the pair's text.
        read: Number of bytes of files that have been read with the step, about.
    """

    pair: str
    shard: Shard | None
    read: int


def perform(step: Step) -> StepResult:
    """Clean the block of a step.

    Raises:
        NeuronspecError: If the corpus is broken there.
    """
    if step.failure is not None:
        raise step.failure
    return StepResult(step.pair, None if step.job is None else clean_block(step.job), step.read)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A corpus of one pair of languages.

    Attributes:
        pair: Pair of languages.
        part: Part that the corpus was given for.
        corpus: The corpus.
        name: Name of its shards.
    """

    pair: str
    part: str
    corpus: Corpus
    name: str

    @functools.cached_property
    def arguments(self) -> dict[str, Any]:
        """Arguments of `read_pairs`."""
        source, target = split_direction(self.pair)
        options = {"format": self.corpus.format, "columns": self.corpus.columns}
        return {"path": self.corpus.path, "source": source, "target": target, **options}

    @functools.cached_property
    def lines(self) -> LineText | None:
        """The lines of the corpus, if it has any.

        Raises:
            NeuronspecError: If it is broken at its beginning.
        """
        return find_lines(**self.arguments)

    @functools.cached_property
    def files(self) -> list[Path]:
        """The files of the corpus; none if they are missing or elsewhere."""
        try:
            lines = self.lines
        except NeuronspecError:  # reported when it is read
            return []
        if lines is None:
            found = list_corpus_files([self.corpus])
        else:
            found = [split_archive(path)[0] or path for path in lines.files]
        return [path for path in dict.fromkeys(found) if path.is_file()]

    def divide(self) -> Iterator[Block]:
        """Yield the blocks of the corpus.

        Raises:
            NeuronspecError: If it is broken.
        """
        return divide_pairs(read_pairs(**self.arguments)) if self.lines is None else divide_lines(self.lines)


class CorpusReading:
    """The blocks of all corpora of a configuration.

    Args:
        config: Configuration with the corpora, and what to drop and hold out.
        pairs: Pairs of languages.
        folder: Folder of the shards.
    """

    def __init__(self, config: Config, pairs: Sequence[str], folder: Path) -> None:
        self._config, self._folder = config, folder
        self._hold_out: dict[str, HoldOut] = {}
        self._sources: dict[str, list[_Source]] = {}
        for pair in pairs:
            corpora, self._hold_out[pair] = choose_corpora(config.data, pair, config.pivot)
            self._sources[pair] = [
                _Source(pair=pair, part=part, corpus=corpus, name=f"{pair}.{part}.{number}")
                for part in TEXT_PARTS
                for number, corpus in enumerate(corpora[part])
            ]

    @property
    def size(self) -> int:
        """Number of bytes of all files."""
        sources = (source for sources in self._sources.values() for source in sources)
        return sum(path.stat().st_size for source in sources for path in source.files)

    def list_steps(self) -> Iterator[Step]:
        """Yield the steps, in the order of pairs of languages, parts and corpora."""
        for pair, sources in self._sources.items():
            try:
                for source in sources:
                    yield from self._list_blocks(source)
            except NeuronspecError as error:
                yield Step(pair=pair, failure=error)
                return
            yield Step(pair=pair)

    def _list_blocks(self, source: _Source) -> Iterator[Step]:
        stats = [(path.stat().st_size, path.stat().st_mtime_ns) for path in source.files]
        settings = hash_json([__version__, source.corpus.model_dump(mode="json"), stats])
        left = sum(size for size, _ in stats)

        for number, block in enumerate(source.divide()):
            # Compressed files are shorter than their text: how much, is known only at the end.
            is_plain = source.lines is not None and not any(lines.raw for lines in getattr(block, "files", ()))
            read = min(left, block.size if is_plain else block.size // _UNPACKED)
            left -= read

            job = CleaningJob(
                block=block,
                part=source.part,
                limits=self._choose_limits(source.part),
                hold_out=self._hold_out[source.pair],
                path=child(self._folder, f"{source.name}.{number}", ".safetensors"),
                settings=settings,
            )
            yield Step(pair=source.pair, job=job, read=read)

    def _choose_limits(self, part: str) -> Mapping[str, Any]:
        """Return the limits on the text of a part: from what is given for validation or test, only empty pairs go."""
        if part != "train":
            return {}
        cleaning = self._config.prepare
        return {
            "min_source_words": cleaning.min_words,
            "max_words": cleaning.max_words,
            "max_ratio": cleaning.max_length_ratio,
            "drop_matching": cleaning.drop_matching,
        }
