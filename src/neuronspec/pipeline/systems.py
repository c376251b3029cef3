"""The systems of a run: their names and titles, and what each is compared with."""

from __future__ import annotations

from collections.abc import Iterable

from neuronspec.comparison.seeds import join_seed, split_seed
from neuronspec.pipeline.layout import PRETRAINED

COPY = "source"  # the system that copies its input
SPECIALIZED = "neuron_specialization"  # the method of the paper
FINE_TUNE = "fine_tune"  # the training that the other methods are measured against

# Systems without training of their own: the pretrained model with masks that it was not trained with.
MASKED = "pretrained+masks"
RANDOM = "pretrained+random"

# Titles in tables; a system without one is shown by its name.
TITLES = {
    COPY: "copying the source",
    PRETRAINED: "pretrained",
    MASKED: "+ specialized masks",
    RANDOM: "+ random masks",
    "fine_tune": "fine-tuned",
    "neuron_specialization": "neuron specialization",
    "random_neurons": "random neurons",
    "shared_mask": "one random mask",
    "permuted_masks": "masks of other tasks",
    "family_masks": "masks by family",
    "lass": "LaSS",
    "parameter_differentiation": "parameter differentiation",
    "neuron_allocation": "neuron allocation",
    "lora": "LoRA",
}


def title_system(system: str) -> str:
    """Return what a system is called in tables.

    Example:
        >>> title_system("fine_tune"), title_system("fine_tune.seed2"), title_system("mine")
        ('fine-tuned', 'fine-tuned, seed 2', 'mine')
    """
    base, seed = split_seed(system)
    return TITLES.get(base, base) + (f", seed {seed}" if seed is not None else "")


def choose_baselines(systems: Iterable[str]) -> dict[str, list[str]]:
    """Return what each system is compared with; the last of them is what the marks of a table refer to.

    That is the pretrained model; for methods other than fine-tuning, fine-tuning; specialized masks are compared with
    random ones, too.

    Example:
        >>> choose_baselines(["pretrained", "pretrained+masks", "fine_tune", "neuron_specialization"])
        {'pretrained+masks': ['pretrained'], 'fine_tune': ['pretrained'], 'neuron_specialization': \
['pretrained', 'fine_tune']}
    """
    # Everything is compared with the pretrained model.
    names = list(systems)
    found = {system: [PRETRAINED] for system in names if system != PRETRAINED}

    if MASKED in found and RANDOM in found:
        # Inserted in front: the marks of a table refer to the last baseline, which stays the pretrained model.
        found[MASKED].insert(0, RANDOM)

    # Methods are compared with fine-tuning of the same seed, or else with that of the run's seed.
    for system in found:
        base, seed = split_seed(system)
        tuned = join_seed(FINE_TUNE, seed)

        # Fine-tuning is not compared with itself, and masks without training not with a training.
        if base not in (FINE_TUNE, MASKED, RANDOM) and (tuned in found or FINE_TUNE in found):
            found[system].append(tuned if tuned in found else FINE_TUNE)
    return found
