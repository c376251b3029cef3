"""The method add_language: new directions in a specialized model, all others provably unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from neuronspec.config.sections import Section
from neuronspec.errors import NeuronspecError
from neuronspec.files import write_json
from neuronspec.languages import match_direction
from neuronspec.methods.add_language.own_entries import EntryTraining, list_own_entries
from neuronspec.methods.add_language.planning import find_own_neurons
from neuronspec.methods.add_language.proof import PROOF_FILE, prove_addition
from neuronspec.methods.registry import METHODS
from neuronspec.models.additions import Addition, read_additions
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import attach_masks, specialize
from neuronspec.training.method import Before, Method, Resources


@METHODS.register("add_language")
class AddLanguage(Method):
    """Trains only what belongs to new languages alone: neurons that no other direction uses, and new tokens.

    `model.extend` makes room for the languages and decides what is theirs. Of everything else, no bit changes, and
    `finish` proves that before the model is published.
    """

    class Options(Section):
        """No options: `model.extend` has them all."""

    name = "add_language"
    extends = True
    artifact = MASKS_FILE
    masks: NeuronMasks
    training: EntryTraining
    before: Before

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Specialize the model with the masks of all directions, and freeze what is not the new ones' own."""
        additions = read_additions(model.config)
        if resources.before is None or resources.base is None or not additions:
            raise NeuronspecError(
                f"{self.name} needs a model with room for a new language: set model.pretrained and model.extend"
            )
        last = additions[-1]
        _check_tasks(resources.tasks, last)

        # The order of the masks' tasks must be that of the task numbers in batches.
        self.before = resources.before
        self.masks = NeuronMasks.from_pretrained(resources.base)
        others = [task for task in self.masks.tasks if match_direction(task, resources.tasks) is None]
        specialize(model, self.masks.reorder([*resources.tasks, *others]))

        own = find_own_neurons(self.masks, last.tasks)
        self.training = EntryTraining(model, list_own_entries(model, own, last.vocabulary))

    def watch(self, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
        """Keep everything else as it is in each step."""
        self.training.watch(optimizer)

    def save(self, directory: Path) -> None:
        """Write the masks of all directions next to the model."""
        self.masks.save_pretrained(directory)

    def finish(self, directory: Path) -> None:
        """Prove that the other directions are what they were, and write the proof next to the model."""
        proof = prove_addition(directory, self.before)
        write_json(directory / PROOF_FILE, proof.to_json())

    @classmethod
    def attach_saved(cls, model: PreTrainedModel, directory: Path, unseen: Sequence[str], pivot: str) -> None:
        """Specialize a trained model with its masks."""
        attach_masks(model, NeuronMasks.from_pretrained(directory), unseen, pivot)


def _check_tasks(tasks: Sequence[str], addition: Addition) -> None:
    """Refuse directions for which the model has no room."""
    missing = [task for task in tasks if match_direction(task, addition.tasks) is None]
    if missing:
        raise NeuronspecError(
            f"add_language trains new directions only, {', '.join(addition.tasks)}: leave out {', '.join(missing)}"
        )
