"""Sources of exports in a run: the model and the masks of one of its systems, and its validation text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.data.texts import assign_pairs, read_columns
from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.exports.other_methods import load_saved_masks
from neuronspec.languages import match_direction, same_language, split_direction
from neuronspec.models.loading import load_tokenizer
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.layout import PRETRAINED
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.systems import MASKED, RANDOM, SPECIALIZED


@dataclass(frozen=True, kw_only=True)
class ExportSource:
    """A model with its masks and with text for the proof of an export.

    Attributes:
        model: Model without masks, on the device that the run uses.
        tokenizer: Tokenizer of the model.
        masks: Masks of the system; None if it has none.
        directory: Directory of the model.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    masks: NeuronMasks | None
    directory: Path


def open_export_source(run: Run, system: str | None = None) -> ExportSource:
    """Open a system of a run to export it.

    Args:
        run: Run whose training is finished.
        system: Name of the system; by default the one that was trained with neuron masks.

    Raises:
        NeuronspecError: If there is no such system, it is not trained yet, or it has something other than masks.
    """
    name = system or _choose_system(run)
    if name not in run.systems:
        raise NeuronspecError(
            f"the run {run.layout.out} has no method {name!r}{did_you_mean(name, run.systems)}; "
            f"known: {', '.join(run.systems)}"
        )

    # The pretrained model with masks that it was not trained with is no training of its own.
    masked = name in (MASKED, RANDOM)
    trained = PRETRAINED if masked else name
    directory = run.layout.model(trained)
    if not (directory / "config.json").is_file():
        raise NeuronspecError(f"{directory} holds no model: `neuronspec run {run.layout.out}` trains it first")

    masks = _load_masks(run, name) if masked else load_saved_masks(directory)
    model, tokenizer = run.load_model(trained), load_tokenizer(directory)
    return ExportSource(model=model.to(run.device), tokenizer=tokenizer, masks=masks, directory=directory)


def read_export_text(run: Run, tasks: Sequence[str], limit: int) -> dict[str, list[str]]:
    """Return the first source sentences of each task in the validation text of a run.

    A direction that was not trained has the sentences of a trained one with the same source language.

    Args:
        run: Run whose text is prepared.
        tasks: Directions; one whose source language has no text is left out.
        limit: Largest number of sentences.
    """
    texts, trained = run.open_texts(), run.config.directions()
    pairs = assign_pairs(trained, run.config.pivot)

    found = {}
    for task in tasks:
        own = match_direction(task, trained) or _find_same_source(task, trained)
        if own is None:
            continue
        pair, side = pairs[own]
        lines = (columns[side] for columns in read_columns(texts.path("valid", pair)))
        found[task] = [line for line, _ in zip(lines, range(limit), strict=False)]
    return found


def _choose_system(run: Run) -> str:
    """Return the system with neuron masks that was trained, or else the pretrained model with the selected masks."""
    trained = [name for name in run.config.methods if (run.layout.model(name) / MASKS_FILE).is_file()]
    if trained:
        return SPECIALIZED if SPECIALIZED in trained else trained[0]
    if run.has_masks and MASKED in run.systems:
        return MASKED
    raise NeuronspecError(
        f"no method of {run.layout.out} has left neuron masks: finish the run (`neuronspec run {run.layout.out}`), or "
        f"choose --method and --dense; known: {', '.join(run.systems)}"
    )


def _load_masks(run: Run, system: str) -> NeuronMasks:
    masks = run.load_masks()
    return NeuronMasks.random(masks, seed=run.config.seed) if system == RANDOM else masks


def _find_same_source(task: str, trained: Sequence[str]) -> str | None:
    source, _ = split_direction(task)
    return next((name for name in trained if same_language(split_direction(name)[0], source)), None)
