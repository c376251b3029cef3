"""A model, its masks and the way it decodes: what translates sentences and files outside of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.artifacts.cards import CARD_FILE
from neuronspec.config.model_loading import ModelLoading
from neuronspec.config.sections import TooLong, Translation
from neuronspec.methods.saved import attach_saved
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.models.placement import place_model
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.processes import join_processes
from neuronspec.specialization.masking import attach_masks
from neuronspec.specialization.steering import Steering, steer
from neuronspec.translation.engines import ENGINES, Decode, open_engine, resolve_engine


@dataclass(frozen=True, kw_only=True)
class TranslationSystem:
    """A model with its masks and the way it decodes.

    Attributes:
        model: Directory of the model, or its name on the Hugging Face hub.
        masks: Masks to specialize the model with; those stored with the model if not given.
        dense: Whether to leave out all masks.
        pivot: Language that the trained directions share, for masks of zero-shot directions.
        beams: Beam size.
        engine: Name of the engine that decodes.
        compute_type: Precision of CTranslate2.
        early_stopping: Whether a beam search ends at as many finished hypotheses as beams; None leaves it to the model.
        too_long: Treatment of sentences that are longer than the model can read.
        source_prefix: Words in front of each source, for a model without language tags.
        loading: Numbers, devices and quantization of the model.
        steerings: Changes of chosen neurons, in the order in which they apply.
    """

    model: str
    masks: Path | None
    dense: bool
    pivot: str
    beams: int
    engine: str
    compute_type: str
    early_stopping: bool | None
    too_long: TooLong
    source_prefix: str | None
    loading: ModelLoading = field(default_factory=ModelLoading)
    steerings: tuple[Steering, ...] = ()

    @property
    def options(self) -> dict[str, object]:
        """The options of decoding, as the section `translate` of a configuration has them."""
        return {
            "beams": self.beams,
            "engine": self.engine,
            "compute_type": self.compute_type,
            "early_stopping": self.early_stopping,
            "too_long": self.too_long,
        }

    def describe(self) -> list[object]:
        """Return what decides the translations, as JSON values; files by their names, sizes and times."""
        places = [Path(self.model)]
        if self.masks is not None:
            places.append(self.masks)
        files = describe_files(places)
        described: list[object] = [self.model, self.dense, self.pivot, self.options, self.source_prefix, files]
        steered = [steering.as_dict() for steering in self.steerings]
        return [*described, *filter(None, [self.loading.facts, steered])]


def describe_files(places: Iterable[Path]) -> list[list[object]]:
    """Return the name, size and time of every file that translations depend on, of some files and directories.

    Sizes and times stand for the contents: hashing all weights would take long.
    """
    files: list[list[object]] = []
    for place in places:
        found = [place] if place.is_file() else sorted(place.rglob("*"))
        # A card that is written again changes no translation.
        found = [file for file in found if file.is_file() and file.name != CARD_FILE]
        files += [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in found]
    return files


def load_system(system: TranslationSystem, tasks: Sequence[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model of a system on its device, specialized but not steered yet, and the tokenizer.

    Args:
        system: Model, masks and options.
        tasks: All directions to translate; masks of directions that were not trained are composed.

    Raises:
        NeuronspecError: If the model or the masks cannot be loaded or do not fit each other.
    """
    model = load_model(system.model, translates=True, **asdict(system.loading))
    tokenizer = load_tokenizer(system.model)
    if system.source_prefix is not None:
        model.config.source_prefix = system.source_prefix

    # Masks that are given go before those that were saved with the model
    if not system.dense and system.masks is not None:
        attach_masks(model, NeuronMasks.from_pretrained(system.masks), tasks, pivot=system.pivot)
    elif not system.dense:
        attach_saved(model, Path(system.model), tasks, pivot=system.pivot)
    place_model(model, join_processes().device)
    return model, tokenizer


@contextmanager
def open_system(system: TranslationSystem, tasks: Sequence[str]) -> Iterator[tuple[Decode, TextCodec]]:
    """Yield what translates with a system, and the codec of its model.

    Args:
        system: Model, masks and options.
        tasks: All directions to translate; masks of directions that were not trained are composed.

    Raises:
        NeuronspecError: If the model or the masks cannot be loaded, do not fit each other, or cannot do a task, or a
            steering does not fit the model.
    """
    model, tokenizer = load_system(system, tasks)
    options = Translation.model_validate(system.options)
    codec = TextCodec(tokenizer, model.config, fixed_tables=ENGINES[resolve_engine(options.engine)].fixed_tables)
    # A direction that the model cannot do is refused before the engine opens.
    codec.formats(tasks)
    with ExitStack() as contexts:
        for steering in system.steerings:
            contexts.enter_context(steer(model, steering))
        yield contexts.enter_context(open_engine(model, tokenizer, options)), codec
