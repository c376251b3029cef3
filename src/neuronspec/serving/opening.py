"""Opening what a service translates with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from neuronspec.errors import NeuronspecError
from neuronspec.exports.other_methods import load_saved_masks
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.serving.ct2_engine import CT2Engine
from neuronspec.serving.engine import ServingEngine
from neuronspec.serving.masked_engine import MaskedEngine
from neuronspec.serving.system_engine import SystemEngine
from neuronspec.translation.engines import DEFAULT_ENGINE, resolve_engine
from neuronspec.translation.system import TranslationSystem


@contextmanager
def open_serving_engine(system: TranslationSystem, tasks: Sequence[str] = ()) -> Iterator[ServingEngine]:
    """Yield what translates with a model for a service, and free it at the end.

    Args:
        system: Model, masks and options of decoding.
        tasks: Directions to offer; by default those of the masks.

    Raises:
        NeuronspecError: If no direction is known, or the model or the masks cannot be loaded.
    """
    if resolve_engine(system.engine) == DEFAULT_ENGINE:
        with closing(MaskedEngine(system, tasks)) as engine:
            yield engine
        return

    # Other engines know nothing but masks.
    masks = _load_masks(system)
    offered = tuple(tasks) or (() if masks is None else masks.tasks)
    if not offered:
        raise NeuronspecError(f"{system.model} has no masks that name directions: name some, --task en-de,de-en")
    with closing(SystemEngine(system, offered, has_masks=masks is not None)) as other:
        yield other


@contextmanager
def open_exports(
    places: Sequence[Path],
    *,
    tasks: Sequence[str] = (),
    memory_limit: int | None = None,
    threads: int | None = None,
) -> Iterator[ServingEngine]:
    """Yield what translates with exports for CTranslate2, one for each direction, and free it at the end.

    Args:
        places: Exports, and directories whose folders are exports.
        tasks: Directions to offer; by default those of all exports.
        memory_limit: Largest number of bytes of all weights in memory; None for no limit.
        threads: Number of CPU threads; by default CTranslate2 decides.

    Raises:
        NeuronspecError: If CTranslate2 is not installed, there are no exports, one is damaged or larger than the
            limit, or two have the same direction and neurons.
    """
    with closing(CT2Engine(places, tasks=tasks, memory_limit=memory_limit, threads=threads or 0)) as engine:
        yield engine


def _load_masks(system: TranslationSystem) -> NeuronMasks | None:
    """Return the masks that a model is specialized with; None without any."""
    if system.dense:
        return None
    if system.masks is not None:
        return NeuronMasks.from_pretrained(system.masks)
    return load_saved_masks(Path(system.model))
