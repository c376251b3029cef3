"""The method adapters: Adapter_LP of the paper, a set for each direction, and Adapter_Fam, one for each family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field
from transformers import PreTrainedModel

from neuronspec.config.codes import LanguageCode
from neuronspec.config.sections import Decay, Section
from neuronspec.errors import NeuronspecError
from neuronspec.methods.adapters.model import ADAPTERS_FILE, Adapters, AdapterSettings, load_adapters
from neuronspec.methods.families import group_by_family
from neuronspec.methods.registry import METHODS
from neuronspec.training.method import Method, Resources


@METHODS.register("adapters")
class AdapterTraining(Method):
    """Trains nothing but adapters (paper, A.2.3 and A.2.4).

    For directions with little data the paper raises the whole model's dropout from 0.1 to 0.3 and lowers the batch
    size from 7,680 to 2,560 tokens. Here all directions are trained at once, in batches of any mix, so that the
    dropout inside their adapters is raised instead and the batch size stays.
    """

    class Options(Section):
        """Options of adapters."""

        by: Literal["pair", "family"] = "pair"
        """One set of adapters for each direction (Adapter_LP), or for each language family and side of the pivot,
        such as en-Germanic and Germanic-en (Adapter_Fam)."""
        families: dict[LanguageCode, str] = Field(default={})
        """Families that differ from those in the table of languages: `{kn: Indo-Aryan}` for those of the paper."""
        bottleneck: int = Field(default=128, ge=1, le=1 << 20)
        """Width of an adapter's inner vector (paper: 128 by pair, 512 by family)."""
        dropout: Decay = 0.1
        """Dropout of the inner vector."""
        low_resource: int = Field(default=0, ge=0)
        """Number of sentence pairs below which a set has `low_resource_dropout`; 0: no set has it."""
        low_resource_dropout: Decay = 0.3
        """Dropout of sets with little data."""

    name = "adapters"
    routes = True
    engines = ("transformers",)
    artifact = ADAPTERS_FILE
    options: Options
    adapters: Adapters

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Add the adapters, and freeze everything else."""
        if self.options.by == "family":
            sets = group_by_family(resources.tasks, self.options.families, resources.pivot)
        else:
            sets = list(resources.tasks)

        # Sets are numbered in the order in which tasks first use them.
        names = list(dict.fromkeys(sets))
        owners = [names.index(name) for name in sets]
        settings = AdapterSettings(
            tasks=list(resources.tasks),
            sets=names,
            # A trained task has one set for both stacks; unseen directions mix the sets of two tasks.
            owners={"encoder": owners, "decoder": owners},
            bottleneck=self.options.bottleneck,
            dropout=self._dropouts(owners, len(names), resources.sizes),
        )
        self.adapters = Adapters(model, settings, seed=resources.seed, frozen=True)
        self.added_modules = self.adapters.sets

    def restore(self, model: PreTrainedModel, directory: Path) -> None:
        """Load the adapters of a checkpoint."""
        self.adapters.load(directory)

    def save(self, directory: Path) -> None:
        """Write the adapters next to the model."""
        self.adapters.save(directory)

    @classmethod
    def attach_saved(cls, model: PreTrainedModel, directory: Path, unseen: Sequence[str], pivot: str) -> None:
        """Attach the adapters of a trained model."""
        load_adapters(model, directory).add_zero_shot(unseen, pivot)

    def _dropouts(self, owners: Sequence[int], sets: int, sizes: Sequence[int]) -> list[float]:
        """Return the dropout of each set."""
        if not self.options.low_resource:
            return [self.options.dropout] * sets
        if len(sizes) != len(owners):
            raise NeuronspecError("low_resource needs to know how many sentence pairs each task has: set it to 0")

        # What counts is the data of a set, which several directions can share.
        totals = [0] * sets
        for owner, size in zip(owners, sizes, strict=True):
            totals[owner] += size

        low, usual = self.options.low_resource_dropout, self.options.dropout
        return [low if total < self.options.low_resource else usual for total in totals]
