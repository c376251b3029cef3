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
    """Translate the sentences of many directions, one file for each direction.

    After an interruption, the same call leaves finished files alone and resumes within the unfinished one.

    Args:
        decode: Function that translates sentences, each in the direction of its task.
        sources: Sentences of each direction.
        targets: File to write for each direction.
        settings: JSON values that decide the translations in addition to the sentences: model, masks, beam size.

    Raises:
        NeuronspecError: If a file cannot be written.
    """
    total = sum(map(len, sources.values()))
    with show_progress("translating", total) as advance:

        def translate_window(window: Sequence[str], names: Sequence[str]) -> list[str]:
            return decode(window, names, advance=advance, quiet=True)

        # Direction by direction, so that an interruption leaves one unfinished file.
        for task, sentences in sources.items():
            translate_file(
                translate_window,
                sentences,
                tasks=[task] * len(sentences),
                path=targets[task],
                settings=settings,
                advance=advance,
                remember=True,
            )
