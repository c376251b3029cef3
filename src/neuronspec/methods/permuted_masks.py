"""The method permuted_masks, a control: each task has the selected neurons of another task."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from neuronspec.config.codes import LanguageCode
from neuronspec.methods.families import group_by_family
from neuronspec.methods.neuron_specialization import NeuronSpecialization
from neuronspec.methods.registry import METHODS
from neuronspec.neurons.controls import permute_tasks
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.training.method import Resources


@METHODS.register("permuted_masks")
class PermutedMasks(NeuronSpecialization):
    """Masks each task with the neurons that were selected for another one: equal sizes and overlaps, wrong owners.

    A gain that this control has, too, comes from separated tasks, whichever neurons they have.
    """

    class Options(NeuronSpecialization.Options):
        """Options of permuted_masks."""

        within: Literal["all", "family"] = "all"
        """Tasks that exchange their masks: `all`, or those of one language family and side of the pivot."""
        families: dict[LanguageCode, str] = Field(default={})
        """Families that differ from those of the table, by language code: `{kn: Indo-Aryan}`."""

    name = "permuted_masks"
    options: Options

    def choose(self, masks: NeuronMasks, resources: Resources) -> NeuronMasks:
        """Return the masks in another order of owners, drawn with the seed of the run."""
        if self.options.within == "family":
            groups = group_by_family(masks.tasks, self.options.families, resources.pivot)
        else:
            groups = ["all"] * len(masks.tasks)
        return permute_tasks(masks, groups, seed=resources.seed)
