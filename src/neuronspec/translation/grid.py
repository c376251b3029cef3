"""Translating a grid of directions, supervised and zero-shot, as one job that several processes can share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from neuronspec.progress import show_progress
from neuronspec.translation.engines import Decode
from neuronspec.translation.resumable_files import translate_file


def translate_grid(
    decode: Decode, sources: Mapping[str, Sequence[str]], targets: Mapping[str, Path], settings: object
) -> None:
    """Translate the sentences of many directions into a file each.

    Direction by direction; what an interrupted call finished, from the same sentences and settings, is left alone,
    and the direction that it was at goes on.

    Args:
        decode: translates sentences, each in the direction of its task.
        sources: of each direction, the sentences to translate.
        targets: of each direction, the file to write.
        settings: JSON values that decide the translations beside the sentences: model, masks, beam size.

    Raises:
        NeuronspecError: a file cannot be written.
    """
    with show_progress("translating", sum(map(len, sources.values()))) as advance:
        for task, sentences in sources.items():
            tasks = [task] * len(sentences)

            def translate(window: Sequence[str], names: Sequence[str]) -> list[str]:
                return decode(window, names, advance=advance, quiet=True)

            translate_file(translate, sentences, tasks, targets[task], settings, advance, remember=True)
