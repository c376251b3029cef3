"""A run: its configuration, its directory, its device, and everything that is opened from them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.loading import load_config
from neuronspec.config.schema import SEED, Config
from neuronspec.data.batches import BatchDataset, TaskData
from neuronspec.data.store import TokenStore
from neuronspec.data.test_sets import describe_untested, find_untested
from neuronspec.data.texts import Texts, assign_pairs
from neuronspec.evaluation.metric import MetricOptions
from neuronspec.methods import find_method, make_method, method_options
from neuronspec.models.codec import TextCodec
from neuronspec.models.generation import set_search
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.examples import Examples
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.systems import MASKED, RANDOM
from neuronspec.processes import is_first_process, join_processes
from neuronspec.training.method import Corpora, Method

logger = logging.getLogger(__name__)


def open_run(
    source: str | Path,
    overrides: Iterable[str] = (),
    *,
    out: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Run:
    """Open a run by its configuration, by the name of a shipped recipe, or by its directory.

    Args:
        source: YAML file, name of a recipe (`demo`), or directory of an earlier run, which is then continued.
        overrides: Changes to the configuration, `section.key=value` each.
        out: Directory of the run; by default the one that the configuration or `source` names.
        changes: Changes by dotted key, applied after the overrides.

    Raises:
        NeuronspecError: If there is no such configuration, or it has problems; all of them are named.
    """
    # A copy, since the caller's mapping must not change
    changes = dict(changes or {})
    if out is not None:
        changes["out"] = str(out)
    return Run(load_config(source, overrides, method_options(), changes))


@dataclass(frozen=True)
class Run:
    """A configuration and its directory; opens its own text, model, counts and masks.

    Example:
        >>> run = open_run("demo", ["train.updates=500"], out="runs/short")
        >>> run.config.train.updates, run.layout.masks.as_posix()
        (500, 'runs/short/select')

    Attributes:
        config: The checked configuration.
    """

    config: Config

    @property
    def layout(self) -> Layout:
        """Paths of all files of the run."""
        return Layout(self.config.out)

    # Where it computes

    @property
    def cpu(self) -> bool:
        """Whether the configuration asks for the CPU."""
        return self.config.device == "cpu"

    @property
    def processes(self) -> PartialState:
        """The processes that work on the run together."""
        return join_processes(self.cpu)

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return torch.device(self.processes.device)

    def share(self, tasks: list[str]) -> list[str]:
        """Return the part of the tasks that this process works on."""
        # Every n-th task, so that the numbers of tasks differ by one at most
        return tasks[self.processes.process_index :: self.processes.num_processes]

    # What it is made of

    @property
    def systems(self) -> list[str]:
        """Names of the systems that translate, in the order of the tables."""
        # The untrained model with masks comes next to the pretrained one, whose scores it is compared with.
        masked = [MASKED, RANDOM] if self.needs_masks else []
        return [PRETRAINED, *masked, *self.config.methods]

    @cached_property
    def needs_masks(self) -> bool:
        """Whether neurons are recorded and selected: for a method that uses them, or to look at them alone."""
        # Without methods, the run is there to look at neurons, which takes two directions or more to compare.
        kinds = [self.find_method(name) for name in self.config.methods]
        only_analyzes = not kinds and len(self.config.directions()) > 1
        return only_analyzes or any(kind.uses_masks for kind in kinds)

    def find_method(self, system: str) -> type[Method]:
        """Return the class of the method that a system is trained with."""
        return find_method(system, self.config.methods[system])

    def make_method(self, system: str) -> Method:
        """Return the method that a system is trained with, with its options."""
        return make_method(system, self.config.methods[system])

    def seed(self, system: str) -> int:
        """Return the seed of a training: the method's own, or the run's."""
        return int(self.config.methods.get(system, {}).get(SEED, self.config.seed))

    @property
    def metric_options(self) -> MetricOptions:
        """The options of all metrics."""
        settings = self.config.score
        return MetricOptions(sentencepiece=settings.sentencepiece, comet_model=settings.comet_model, cpu=self.cpu)

    # What it tests

    @cached_property
    def tested_directions(self) -> list[str]:
        """Every direction that is translated and scored: the trained ones, then the zero-shot ones that have test text.

        Zero-shot directions whose languages share no test sentence are left out, with a warning. The text must be
        prepared.
        """
        trained, unseen = self.config.directions(), self.config.zero_shot_directions()
        untested = find_untested(self.open_texts(), unseen, trained, self.config.pivot)
        if untested and is_first_process():
            logger.warning("%s", describe_untested(untested, self.config.pivot))
        return [*trained, *(task for task in unseen if task not in untested)]

    @property
    def tested_zero_shot(self) -> list[str]:
        """The zero-shot directions that have test text."""
        trained = self.config.directions()
        return [task for task in self.tested_directions if task not in trained]

    # What it opens

    def open_texts(self) -> Texts:
        """Open the prepared text."""
        return Texts.load(self.layout.text)

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer of the run."""
        return load_tokenizer(self.layout.vocabulary)

    def load_model(self, system: str = PRETRAINED) -> PreTrainedModel:
        """Load the model that a training ended with, on the CPU and without masks."""
        model = load_model(self.layout.model(system))
        # What an earlier configuration asked for may still be in its directory.
        set_search(model, self.config.translate)
        return model

    def open_codec(self, model: PreTrainedModel) -> TextCodec:
        """Return how a model of the run reads and writes text."""
        return TextCodec(self.load_tokenizer(), model.config)

    def open_dataset(self, part: str, codec: TextCodec) -> BatchDataset:
        """Open the encoded text of a part, `train` or `valid`, as its model reads it."""
        # Formats are made for all directions together: the model must be able to distinguish them.
        directions = self.config.directions()
        formats = codec.formats(directions, training=self.config.trains)

        tasks = [
            TaskData(task, pair, side, formats[task])
            for task, (pair, side) in assign_pairs(directions, self.config.pivot).items()
        ]

        skips_too_long = self.config.data.too_long == "skip"
        return BatchDataset(TokenStore(self.layout.tokens(part)), tasks, skips_too_long=skips_too_long)

    def open_corpora(self, codec: TextCodec) -> Corpora:
        """Open the encoded training and validation text."""
        return Corpora(self.open_dataset("train", codec), self.open_dataset("valid", codec))

    def load_counts(self) -> ActivationCounts:
        """Load the recorded activation counts."""
        return ActivationCounts.load(self.layout.counts)

    @property
    def has_masks(self) -> bool:
        """Whether neurons were selected."""
        return (self.layout.masks / MASKS_FILE).is_file()

    def load_masks(self) -> NeuronMasks:
        """Load the selected neurons."""
        return NeuronMasks.from_pretrained(self.layout.masks)

    def load_examples(self) -> Examples | None:
        """Load the sentences that activate each neuron most; None where the configuration asks for none."""
        # What an earlier configuration asked for may still be there, from an earlier model.
        return Examples.load(self.layout.examples) if self.config.analyze.examples else None
