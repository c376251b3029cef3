"""Paths of all files in a run directory: the one place that names them.

Each stage has a folder of its name. A system is `pretrained`, the model that is specialized, or a method of the
configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neuronspec.artifacts.cards import CARD_FILE
from neuronspec.config.loading import STORED_CONFIG
from neuronspec.models.directories import GENERATION_FILE, is_built_here
from neuronspec.names import child

# The system that training starts from, whose neurons are recorded and selected
PRETRAINED = "pretrained"


@dataclass(frozen=True)
class Layout:
    """Paths of all files in the directory of a run.

    Attributes:
        out: Directory of the run.
    """

    out: Path

    @property
    def config(self) -> Path:
        """The configuration as it was resolved."""
        return self.out / STORED_CONFIG

    def record(self, stage: str) -> Path:
        """The record of what a stage was made from."""
        return child(self.out / "stages", stage, ".json")

    @property
    def hashes(self) -> Path:
        """The hashes of all files that stages read or wrote, with the state in which each file had its content."""
        return self.out / "stages" / "hashes"  # no record, which ends in .json

    # prepare

    @property
    def text(self) -> Path:
        """Clean, split text."""
        return self.out / "prepare" / "text"

    @property
    def vocabulary(self) -> Path:
        """The tokenizer."""
        return self.out / "prepare" / "vocabulary"

    def tokens(self, part: str) -> Path:
        """The token store of `train` or `valid`."""
        return child(self.out / "prepare" / "tokens", part)

    @property
    def preparing(self) -> Path:
        """Blocks of text that are cleaned or encoded, until all are."""
        return self.out / ".prepare"

    # train, and the search of a method before its training

    def training(self, system: str) -> Path:
        """Everything about a training: its checkpoints, its log, its summary, and the model that it ended with."""
        return child(self.out / "train", system)

    def model(self, system: str) -> Path:
        """The model that a training ended with: a Hugging Face directory."""
        return self.training(system) / "model"

    def is_note(self, file: Path) -> bool:
        """Return whether a file in the directory of a model only tells others how to use it.

        Such a file follows the scores and the settings of `translate`, which come after the training: no stage is
        redone when it changes. A pretrained model's own way of decoding is no such file.
        """
        model = file.parent
        if model.name != "model" or model.parent.parent != self.out / "train":
            return False
        return file.name == CARD_FILE or (file.name == GENERATION_FILE and is_built_here(model))

    def summary(self, system: str) -> Path:
        """Costs of a training: time, updates, parameters added."""
        return self.training(system) / "summary.json"

    def search(self, system: str) -> Path:
        """The results of a method's search before its training."""
        return child(self.out / "search", system)

    # record and select

    @property
    def counts(self) -> Path:
        """The activation counts."""
        return self.out / "record"

    @property
    def recording(self) -> Path:
        """The activation counts of each task, until all are there."""
        return self.out / ".record"

    @property
    def masks(self) -> Path:
        """The neuron masks."""
        return self.out / "select"

    @property
    def curve(self) -> Path:
        """The loss at each k, where k was searched for."""
        return self.masks / "auto_k.json"

    # examples, ablate and analyze

    @property
    def examples(self) -> Path:
        """The sentences that activate each neuron most."""
        return self.out / "examples"

    @property
    def ablation(self) -> Path:
        """The loss of each text without neurons."""
        return self.out / "ablate"

    @property
    def analysis(self) -> Path:
        """Everything that was measured about the neurons, and its report."""
        return self.out / "analyze"

    @property
    def figures(self) -> Path:
        """The figures of the analysis, and the numbers behind them."""
        return self.analysis / "figures"

    # translate, score and report

    def translations(self, system: str) -> Path:
        """One file of translations for each task."""
        return child(self.out / "translate", system)

    @property
    def scores(self) -> Path:
        """All results: scores, the statistics behind them, comparisons."""
        return self.out / "score"

    @property
    def scoring(self) -> Path:
        """The results of each task, until all are there."""
        return self.out / ".score"

    @property
    def report(self) -> Path:
        """The tables, the summary and the page of the run."""
        return self.out / "report"
