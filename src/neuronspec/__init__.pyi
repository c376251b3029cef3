from .analysis.measures import analyze as analyze
from .comparison.fair_comparison import compare as compare
from .errors import NeuronspecError as NeuronspecError
from .evaluation.scoring import score as score
from .exports.exporting import export as export
from .models.loading import load_model as load_model
from .models.text_batches import make_batches as make_batches
from .neurons.counts import ActivationCounts as ActivationCounts
from .neurons.layers import FFNLayer as FFNLayer
from .neurons.layers import find_ffn_layers as find_ffn_layers
from .neurons.masks import NeuronMasks as NeuronMasks
from .neurons.neuron_lists import read_neurons as read_neurons
from .neurons.recording import record_activations as record_activations
from .neurons.selection import select_neurons as select_neurons
from .pipeline.checks import check as check
from .pipeline.plan import run as run
from .pipeline.sweeps import sweep as sweep
from .specialization.collator import TaskCollator as TaskCollator
from .specialization.masking import specialize as specialize
from .specialization.momentum import hold_absent_neurons as hold_absent_neurons
from .specialization.pruning import prune as prune
from .specialization.routing import dense as dense
from .specialization.routing import task as task
from .specialization.routing import unspecialize as unspecialize
from .specialization.steering import Steering as Steering
from .specialization.steering import steer as steer
from .translation.by_direction import translate as translate
from .version import __version__ as __version__

__all__ = [
    "ActivationCounts",
    "FFNLayer",
    "NeuronMasks",
    "NeuronspecError",
    "Steering",
    "TaskCollator",
    "__version__",
    "analyze",
    "check",
    "compare",
    "dense",
    "export",
    "find_ffn_layers",
    "hold_absent_neurons",
    "load_model",
    "make_batches",
    "prune",
    "read_neurons",
    "record_activations",
    "run",
    "score",
    "select_neurons",
    "specialize",
    "steer",
    "sweep",
    "task",
    "translate",
    "unspecialize",
]
