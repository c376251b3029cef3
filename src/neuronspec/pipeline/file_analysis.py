"""Analyzing counts or masks from files, outside of a run, with a model and text if there are some."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neuronspec.analysis.compared_tasks import has_pivot
from neuronspec.config.loading import NeuronSections
from neuronspec.config.sections import Translation
from neuronspec.errors import NeuronspecError
from neuronspec.models.loading import load_tokenizer
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.examples import Examples
from neuronspec.neurons.filenames import COUNTS_FILE
from neuronspec.neurons.mask_sources import select_masks
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.model_texts import ModelTexts
from neuronspec.pipeline.analysis_inputs import open_text_inputs
from neuronspec.pipeline.analysis_target import AnalysisTarget
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.neuron_ablation import load_given
from neuronspec.pipeline.neuron_analysis import analyze_target
from neuronspec.report.neuron_cards import NeuronCard, make_neuron_card


def load_files(
    place: Path, masks: Path | None, sections: NeuronSections, *, pivot: str | None, seed: int
) -> AnalysisTarget:
    """Return what is analyzed: counts with masks, counts with the masks that they select, or masks alone.

    Args:
        place: Directory or file of activation counts or masks.
        masks: Directory or file of the masks that go with the counts.
        sections: Settings of the selection, the measurements and the ablation.
        pivot: Language that the directions share; English if not given.
        seed: Seed of everything that is drawn.

    Raises:
        NeuronspecError: If something is missing or damaged, does not fit, or would change nothing.
    """
    # The place holds counts or masks; --masks makes sense only next to counts.
    counts = ActivationCounts.load(place) if _holds_counts(place) else None
    if counts is None and masks is not None:
        raise NeuronspecError(f"{place} holds no activation counts to go with --masks")

    # Settings that would change nothing are refused, since users would take their results for others.
    selection = sections.select
    _check_changes(sections, selects=counts is not None and masks is None)

    # Masks whose neurons are to be switched off are read again later: a mistake is found before a model is loaded.
    if sections.ablate is not None:
        load_given(sections.ablate)

    # The masks are given, or they are what the counts select.
    if counts is None or masks is not None:
        selected = NeuronMasks.from_pretrained(masks or place)
    elif selection.k == "auto":
        raise NeuronspecError("select.k: auto needs a configuration: its model and its validation text")
    else:
        selected = select_masks(selection, counts, selection.k)

    # Without a task from or to the pivot there is nothing to compare.
    if pivot is not None and not has_pivot(selected.tasks, pivot):
        raise NeuronspecError(f"no task is from or to the pivot {pivot!r}; there are {', '.join(selected.tasks)}")

    return AnalysisTarget(
        name=place.name,
        masks=selected,
        counts=counts,
        pivot=pivot or "en",
        options=sections.analyze,
        ablation=sections.ablate,
        seed=seed,
    )


def _holds_counts(place: Path) -> bool:
    return place.name == COUNTS_FILE or (place.is_dir() and (place / COUNTS_FILE).exists())


def _check_changes(sections: NeuronSections, *, selects: bool) -> None:
    """Refuse settings that decided how counts were recorded, or how masks that are given were selected."""
    # Options of recording decided the counts that are already there.
    fixed = [f"record.{key}" for key in sections.record.model_fields_set]

    # Options of selecting decide only where masks are still to be selected.
    if not selects:
        fixed += [f"select.{key}" for key in sections.select.model_fields_set]

    # The share is that of neurons that the ablation chooses itself.
    if sections.ablate is not None and {"masks", "share"} <= sections.ablate.model_fields_set:
        raise NeuronspecError("ablate.share changes nothing next to ablate.masks (--with): leave one of them out")

    if fixed:
        raise NeuronspecError(f"{min(fixed)} changes nothing in counts and masks that are there")


def analyze_files(target: AnalysisTarget, layout: Layout, inputs: ModelTexts | None, translation: Translation) -> None:
    """Analyze counts and masks, and write the numbers, figures and report.

    Args:
        target: Counts and masks.
        layout: Paths of the files to write.
        inputs: Model of the counts and text, to find examples and to switch neurons off.
        translation: Settings of the translation, if translations are scored.

    Raises:
        NeuronspecError: If the model or the text does not fit the masks.
    """
    # Without a model, examples and ablation are left out; overlaps need masks alone.
    if inputs is None:
        analyze_target(target, layout, None)
        return

    # The signature says how the neurons were counted, so that examples are found in the same way.
    recorded = target.counts or target.masks
    opened = open_text_inputs(
        inputs.model,
        inputs.tokenizer,
        inputs.texts,
        special=inputs.find_special(("tags", "end_of_sentence")),
        signature=recorded.signature,
        translation=translation,
        too_long=inputs.too_long,
    )
    analyze_target(target, layout, opened)


def describe_neurons(
    names: Sequence[str], target: AnalysisTarget, layout: Layout, vocabulary: Path | str | None
) -> list[NeuronCard]:
    """Return the cards of neurons.

    Args:
        names: Names of the neurons: `decoder.0:117`.
        target: Counts and masks.
        layout: Paths of the files, among them the examples.
        vocabulary: Directory or hub name of the tokenizer; without one, the cards have no examples.
    """
    if not names:
        return []

    # Examples are stored as token ids: only the tokenizer turns them into words.
    examples, tokenizer = None, None
    if vocabulary is not None and target.options.examples > 0:
        examples, tokenizer = Examples.load(layout.examples), load_tokenizer(vocabulary)

    return [make_neuron_card(name, target.masks, target.counts, examples, tokenizer) for name in names]
