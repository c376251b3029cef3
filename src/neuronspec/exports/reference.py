"""The masked and steered model that an export must equal, in the precision of the proof."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from transformers import PreTrainedModel

from neuronspec.exports.formats import Answer
from neuronspec.models.transformers_internals import evaluating
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.routing import find_router, unspecialize
from neuronspec.specialization.steering import Steering, steer

EXACT = (torch.float32, torch.float64)
"""Precisions in which two ways of computing the same thing write the same tokens."""


def choose_precision(model: PreTrainedModel) -> torch.dtype:
    """Return the precision of the proof: that of the model, or float32 for a model in half precision."""
    return model.dtype if model.dtype in EXACT else torch.float32


@contextmanager
def use_masked(model: PreTrainedModel, masks: NeuronMasks | None) -> Iterator[PreTrainedModel]:
    """Yield a model that computes with masks, in evaluation mode; afterwards the given model is as it was.

    Args:
        model: Model, specialized or not.
        masks: Masks of some tasks; None for the dense model.
    """
    # A model that is specialized already, or in half precision, stays so: a copy takes its place.
    is_plain = find_router(model) is None and model.dtype in EXACT
    reference = model if is_plain else unspecialize(copy.deepcopy(model)).to(choose_precision(model))

    if masks is not None:
        specialize(reference, masks)
    try:
        with evaluating(reference):
            yield reference
    finally:
        if is_plain:
            unspecialize(model)


def steer_answers(answer: Answer, model: PreTrainedModel, steerings: Sequence[Steering]) -> Answer:
    """Return what answers with a steered model.

    Args:
        answer: Function that answers with the model.
        model: Model, with masks or without.
        steerings: Changes of chosen neurons, each for the answers to its own tasks.
    """

    def answer_steered(sentences: Sequence[str], task: str, *, beams: int) -> list[list[int]]:
        with ExitStack() as contexts:
            for steering in steerings:
                if steering.applies_to(task):  # all rows have this task
                    contexts.enter_context(steer(model, steering.everywhere()))
            return answer(sentences, task, beams=beams)

    return answer_steered
