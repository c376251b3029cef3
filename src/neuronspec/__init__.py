"""neuronspec: find the language-specific neurons of a multilingual Transformer, and put them to work."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from neuronspec.version import __version__ as __version__

# The public names and where they live; imported when first used, so that `import neuronspec` takes no time.
_PUBLIC = {
    "ActivationCounts": "neuronspec.neurons.counts",
    "FFNLayer": "neuronspec.neurons.layers",
    "NeuronMasks": "neuronspec.neurons.masks",
    "NeuronspecError": "neuronspec.errors",
    "TaskCollator": "neuronspec.specialization.collator",
    "dense": "neuronspec.specialization.routing",
    "find_ffn_layers": "neuronspec.neurons.layers",
    "hold_absent_neurons": "neuronspec.specialization.momentum",
    "load_model": "neuronspec.models.loading",
    "make_batches": "neuronspec.models.inputs",
    "prune": "neuronspec.specialization.pruning",
    "record_activations": "neuronspec.neurons.recording",
    "select_neurons": "neuronspec.neurons.selection",
    "specialize": "neuronspec.specialization.masking",
    "task": "neuronspec.specialization.routing",
    "unspecialize": "neuronspec.specialization.routing",
}

__all__ = ["__version__", *sorted(_PUBLIC)]

if TYPE_CHECKING:
    from neuronspec.errors import NeuronspecError as NeuronspecError
    from neuronspec.models.inputs import make_batches as make_batches
    from neuronspec.models.loading import load_model as load_model
    from neuronspec.neurons.counts import ActivationCounts as ActivationCounts
    from neuronspec.neurons.layers import FFNLayer as FFNLayer
    from neuronspec.neurons.layers import find_ffn_layers as find_ffn_layers
    from neuronspec.neurons.masks import NeuronMasks as NeuronMasks
    from neuronspec.neurons.recording import record_activations as record_activations
    from neuronspec.neurons.selection import select_neurons as select_neurons
    from neuronspec.specialization.collator import TaskCollator as TaskCollator
    from neuronspec.specialization.masking import specialize as specialize
    from neuronspec.specialization.momentum import hold_absent_neurons as hold_absent_neurons
    from neuronspec.specialization.pruning import prune as prune
    from neuronspec.specialization.routing import dense as dense
    from neuronspec.specialization.routing import task as task
    from neuronspec.specialization.routing import unspecialize as unspecialize


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'neuronspec' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
