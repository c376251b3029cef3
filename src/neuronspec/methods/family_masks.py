"""The method family_masks, a control: the tasks of a language family have the same neurons."""

from __future__ import annotations

from pydantic import Field

from neuronspec.config.codes import LanguageCode
from neuronspec.methods.families import group_by_family
from neuronspec.methods.neuron_specialization import NeuronSpecialization
from neuronspec.methods.registry import METHODS
from neuronspec.neurons.controls import pool_tasks
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.training.method import Resources


@METHODS.register("family_masks")
class FamilyMasks(NeuronSpecialization):
    """Masks the tasks of one language family and side of the pivot alike: with the neurons that most of them have.

    A gain that this control has, too, comes from separated families, not from separated tasks.
    """

    class Options(NeuronSpecialization.Options):
        """Options of family_masks."""

        families: dict[LanguageCode, str] = Field(default={})
        """Families that differ from those of the table, by language code: `{kn: Indo-Aryan}`."""

    name = "family_masks"
    options: Options

    def choose(self, masks: NeuronMasks, resources: Resources) -> NeuronMasks:
        """Return one mask for each family; the seed of the run decides between neurons that as many tasks have."""
        groups = group_by_family(masks.tasks, self.options.families, resources.pivot)
        return pool_tasks(masks, groups, seed=resources.seed)
