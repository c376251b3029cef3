"""Checks of masks and counts, alone and with the model that they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from neuronspec.checking.problem import Problem, catch_errors, list_places
from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_path
from neuronspec.languages import find_sides
from neuronspec.models.building import build_skeleton
from neuronspec.models.codec import TextCodec
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import check_fit

FEW_UNITS = 100  # sentences of a task below which its frequencies say little


def check_masks(masks: NeuronMasks) -> Iterator[Problem]:
    """Yield the problems of masks by themselves: layers in which a task has no neuron, or all of them.

    Args:
        masks: The masks.
    """
    for sparsity, what, level in ((1.0, "no neuron", "warning"), (0.0, "every neuron", "note")):
        found = [
            f"{task} in {layer}"
            for layer, values in masks.sparsity().items()
            for task, value in zip(masks.tasks, values, strict=True)
            if value == sparsity
        ]
        if found:
            yield Problem(
                level="warning" if level == "warning" else "note",
                subject="masks",
                message=f"{len(found)} masks select {what}: {list_places(found)}",
                fix="select with a higher k" if sparsity else "select with a lower k",
            )


def check_counts(counts: ActivationCounts) -> Iterator[Problem]:
    """Yield the problems of counts by themselves: too few sentences, or nothing active.

    Args:
        counts: The counts.
    """
    yield from catch_errors(counts.check, "counts")

    # In sentences, the stacks have seen the same; in tokens, the shorter side decides.
    seen = torch.stack([*counts.totals.values()]).min(dim=0).values.tolist()  # (tasks,)
    few = [f"{task} {total:,}" for task, total in zip(counts.tasks, seen, strict=True) if total < FEW_UNITS]
    if few:
        yield Problem(
            level="warning",
            subject="counts",
            message=f"there are fewer than {FEW_UNITS} {counts.unit}s of some tasks: {list_places(few)}; which neurons "
            "are frequent is then mostly chance",
            fix="record more text",
        )


def check_origin(
    neurons: NeuronMasks | ActivationCounts,
    config: PretrainedConfig,
    directory: Path | None,
    tokenizer: PreTrainedTokenizerBase | None,
) -> Iterator[Problem]:
    """Yield the problems of masks or counts with a model.

    Args:
        neurons: Masks or counts.
        config: Configuration of the model.
        directory: Directory of the model, where it is on this machine.
        tokenizer: Tokenizer of the model; None to leave out the tags of the tasks.
    """
    try:
        layers = find_ffn_layers(build_skeleton(config))
    except NeuronspecError as error:
        yield Problem(level="error", subject="model", message=str(error))
        return

    what = "the masks" if isinstance(neurons, NeuronMasks) else "the counts"
    yield from catch_errors(lambda: check_fit(layers, neurons, what), "model")
    yield from _check_hash(neurons, directory)

    # Tasks that are directions need tags, where the model translates.
    if tokenizer is not None and config.is_encoder_decoder:
        codec = TextCodec(tokenizer, config)
        for task in neurons.tasks:
            if find_sides(task) is not None:
                yield from _check_task(codec, task)


def _check_task(codec: TextCodec, task: str) -> Iterator[Problem]:
    try:
        codec.format(task)
    except NeuronspecError as error:
        yield Problem(level="error", subject=task, message=f"{task}: {error}")


def _check_hash(neurons: NeuronMasks | ActivationCounts, directory: Path | None) -> Iterator[Problem]:
    """Yield a warning if the signature names other weights than the model has."""
    known = neurons.signature.get("model", "")
    files = sorted(directory.glob("*.safetensors")) if directory is not None and directory.is_dir() else []
    weights = [path for path in files if not path.name.startswith(("neuron_masks", "activation_counts"))]
    if not known or not weights:
        return

    # Trained on, the weights differ: masks are then used as intended, but not recorded on this model.
    if known != " ".join(map(hash_path, weights)):
        yield Problem(
            level="note",
            subject="model",
            message="the neurons were recorded on other weights than this model has",
            fix="right for a model whose training was continued; otherwise give the model that was recorded",
        )
