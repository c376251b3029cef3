"""Windows of a grid's directions as tasks of workers, each of which loads the model once."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from neuronspec.executors import keep_open
from neuronspec.models.codec import TextCodec
from neuronspec.processes import join_processes
from neuronspec.translation.engines import Decode
from neuronspec.translation.sources import check_sources
from neuronspec.translation.system import TranslationSystem, open_system

Text = tuple[str, Sequence[str]]  # direction and sentences


@dataclass(frozen=True, kw_only=True)
class GridTasks:
    """The tasks of a grid of directions, as a worker does them.

    Attributes:
        system: Model, masks and options.
        directions: All directions of the grid.
        threads: Number of threads that compute. The bits of sums depend on it, so workers use as many as the process
            that would translate without them.
    """

    system: TranslationSystem
    directions: tuple[str, ...]
    threads: int

    def check(self, text: tuple[str, Sequence[str], str]) -> None:
        """Check the sentences of a direction, and warn about those that are too long.

        Args:
            text: Direction, sentences, and name of their file.

        Raises:
            NeuronspecError: If the model cannot do a direction of the grid, or reads none of the sentences.
        """
        direction, sentences, name = text
        _, codec = self._open()
        codec.formats(self.directions)
        check_sources(codec, sentences, [direction] * len(sentences), too_long=self.system.too_long, name=name)

    def translate(self, text: Text) -> list[str]:
        """Return the translations of a window of a direction's sentences."""
        direction, sentences = text
        decode, _ = self._open()
        return decode(sentences, [direction] * len(sentences), quiet=True)

    def _open(self) -> tuple[Decode, TextCodec]:
        """Return what translates, opened once for a model with the same files and options."""
        join_processes(cpu=True)
        torch.set_num_threads(self.threads)
        key = json.dumps([self.system.describe(), self.directions, self.threads])
        return keep_open(key, functools.partial(open_system, self.system, self.directions))
