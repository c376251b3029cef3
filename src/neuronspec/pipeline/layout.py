"""Paths of all files in a run directory: the one place that names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neuronspec.names import child

PRETRAINED = "pretrained"


@dataclass(frozen=True)
class Layout:
    """The files below the output directory of a run."""

    out: Path

    @property
    def config(self) -> Path:
        """The configuration as it was resolved."""
        return self.out / "stages" / "config.yaml"

    @property
    def text(self) -> Path:
        """Clean, split text."""
        return self.out / "text"

    @property
    def vocabulary(self) -> Path:
        """The tokenizer."""
        return self.out / "vocabulary"

    def tokens(self, part: str) -> Path:
        """The token store of `train` or `valid`."""
        return child(self.out / "tokens", part)

    def training(self, system: str) -> Path:
        """The checkpoints and the log of a training."""
        return child(self.out / "training", system)

    def summary(self, system: str) -> Path:
        """What a training took and added."""
        return self.training(system) / "summary.json"

    def model(self, system: str) -> Path:
        """The model that a training ended with: a Hugging Face directory."""
        return child(self.out / "models", system)

    @property
    def counts(self) -> Path:
        """The activation counts."""
        return self.out / "counts"

    @property
    def recording(self) -> Path:
        """The activation counts of each task, until all are there."""
        return self.out / "recording"

    @property
    def masks(self) -> Path:
        """The neuron masks."""
        return self.out / "masks"

    @property
    def curve(self) -> Path:
        """What each k costs, where k was searched for."""
        return self.masks / "auto_k.json"

    def search(self, system: str) -> Path:
        """What a method found out before its training."""
        return child(self.out / "search", system)

    def translations(self, system: str) -> Path:
        """One file of translations for each task."""
        return child(self.out / "translations", system)

    @property
    def scoring(self) -> Path:
        """The results of each task, until all are there."""
        return self.out / "scoring"

    @property
    def scores(self) -> Path:
        """All results: scores, the statistics behind them, comparisons."""
        return self.out / "scores"

    @property
    def examples(self) -> Path:
        """The sentences that activate each neuron most."""
        return self.out / "examples"

    @property
    def ablation(self) -> Path:
        """What the text loses without neurons."""
        return self.out / "ablation"

    @property
    def figures(self) -> Path:
        """The figures and the numbers behind them."""
        return self.out / "figures"

    @property
    def analysis(self) -> Path:
        """Everything that was measured of the neurons, and the report of it."""
        return self.out / "analysis"

    @property
    def report(self) -> Path:
        """The summary."""
        return self.out / "report"

    def record(self, stage: str) -> Path:
        """What a stage was done from."""
        return child(self.out / "stages", stage, ".json")
