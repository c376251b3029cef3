"""Options that name what translates, for `translate` and `serve`: a model, its masks and the way it decodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from neuronspec.config.model_loading import ModelLoading
from neuronspec.errors import NeuronspecError
from neuronspec.models.directories import check_directory
from neuronspec.translation.engines import DEFAULT_ENGINE, ENGINES, resolve_engine

if TYPE_CHECKING:
    from neuronspec.config.sections import TooLong
    from neuronspec.translation.system import TranslationSystem


@dataclass(frozen=True, kw_only=True)
class SystemOptions:
    """Options of the command line from which a `TranslationSystem` is made.

    Attributes:
        model: Directory of a model, or its name on the hub.
        masks: Masks to specialize the model with.
        dense: Whether to leave out all masks.
        pivot: Language that the trained directions share.
        beams: Beam size.
        engine: Name or alias of the engine that decodes.
        compute_type: Precision of CTranslate2.
        early_stopping: Whether a beam search ends at as many finished hypotheses as beams.
        too_long: Treatment of sentences that are longer than the model can read.
        steer: File of changes of chosen neurons.
        source_prefix: Words in front of each source.
        loading: Numbers, devices and quantization of the model.
    """

    model: str
    masks: Path | None
    dense: bool
    pivot: str
    beams: int
    engine: str
    compute_type: str
    early_stopping: bool | None
    too_long: TooLong = "cut"
    steer: Path | None = None
    source_prefix: str | None
    loading: ModelLoading = field(default_factory=ModelLoading)

    def check(self) -> None:
        """Refuse options that do not go together, before anything is imported that takes seconds.

        Raises:
            NeuronspecError: If the engine is unknown, or an option would change nothing.
        """
        # Each engine lists the options that it has.
        name = resolve_engine(self.engine)
        converts = "compute_type" in ENGINES[name].options
        if self.compute_type != "default" and not converts:
            able = " or ".join(name for name, engine in ENGINES.items() if "compute_type" in engine.options)
            raise NeuronspecError(f"--compute-type is for --engine {able}")

        # An engine that converts a model needs all of its numbers.
        if self.loading.facts and converts:
            raise NeuronspecError(
                f"--dtype, --device-map and --quantize are for the engine {DEFAULT_ENGINE}; --engine {name} "
                "has --compute-type"
            )

        # CTranslate2 converts weights, which a steering does not change.
        if self.steer is not None and name != DEFAULT_ENGINE:
            raise NeuronspecError(f"--steer is for the engine {DEFAULT_ENGINE}: --engine {name} would ignore it")

    def describe(self) -> TranslationSystem:
        """Return what translates.

        Raises:
            NeuronspecError: If the directory of the model or the file of changes is missing or broken.
        """
        check_directory(self.model)  # before what loads it is imported, which takes seconds
        from neuronspec.specialization.steering_files import read_steerings
        from neuronspec.translation.system import TranslationSystem

        return TranslationSystem(
            model=self.model,
            masks=self.masks,
            dense=self.dense,
            pivot=self.pivot,
            beams=self.beams,
            engine=resolve_engine(self.engine),
            compute_type=self.compute_type,
            early_stopping=self.early_stopping,
            too_long=self.too_long,
            source_prefix=self.source_prefix,
            loading=self.loading,
            steerings=read_steerings(self.steer) if self.steer is not None else (),
        )
