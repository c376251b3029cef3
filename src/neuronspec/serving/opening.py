"""Opening what a service translates with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from neuronspec.config.sections import Translation
from neuronspec.errors import NeuronspecError
from neuronspec.exports.other_methods import load_saved_masks
from neuronspec.models.codec import TextCodec
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.serving.engine import Sentence, ServingEngine
from neuronspec.translation.engines import Decode
from neuronspec.translation.system import TranslationSystem, open_system


@contextmanager
def open_serving_engine(system: TranslationSystem, tasks: Sequence[str] = ()) -> Iterator[ServingEngine]:
    """Yield what translates for a service, and free it at the end.

    Args:
        system: Model, masks and options of decoding.
        tasks: Directions to offer; by default those of the masks.

    Raises:
        NeuronspecError: If no direction is known, or the model or the masks cannot be loaded.
    """
    offered = list(tasks) or _list_mask_tasks(system)
    with open_system(system, offered) as (decode, codec):
        yield _SystemEngine(decode, codec, offered)


def _list_mask_tasks(system: TranslationSystem) -> list[str]:
    """Return the directions of the masks that a model is specialized with."""
    if system.masks is not None:
        return list(NeuronMasks.from_pretrained(system.masks).tasks)

    masks = None if system.dense else load_saved_masks(Path(system.model))
    if masks is None:
        raise NeuronspecError(f"{system.model} has no masks that name directions: name some, --task en-de,de-en")
    return list(masks.tasks)


class _SystemEngine:
    """Translates with one opened system."""

    def __init__(self, decode: Decode, codec: TextCodec, tasks: Sequence[str]) -> None:
        self.tasks = tuple(tasks)
        self._decode = decode
        self._codec = codec

    def translate(self, rows: Sequence[Sentence]) -> list[str]:
        if not all(row.masked for row in rows):
            raise NeuronspecError("this engine translates with the masks of the model only")
        found = [""] * len(rows)
        for beams in {row.beams for row in rows}:
            places = [place for place, row in enumerate(rows) if row.beams == beams]
            texts = [rows[place].text for place in places]
            tasks = [rows[place].task for place in places]
            options = Translation(beams=beams)
            for place, text in zip(places, self._decode(texts, tasks, options=options, quiet=True), strict=True):
                found[place] = text
        return found

    def count_tokens(self, rows: Sequence[Sentence]) -> list[int]:
        return [len(ids) for ids in self._codec.encode_sources([row.text for row in rows])]

    def find_longest(self, task: str) -> int | None:
        return self._codec.formats([task])[task].longest_source

    def close(self) -> None:
        """The system is closed by whoever opened it."""
