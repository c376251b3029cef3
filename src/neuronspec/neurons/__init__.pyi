from .activity import Activity as Activity
from .architectures import ARCHITECTURES as ARCHITECTURES
from .architectures import Architecture as Architecture
from .architectures import Form as Form
from .counts import ActivationCounts as ActivationCounts
from .example_search import find_examples as find_examples
from .examples import Example as Example
from .examples import Examples as Examples
from .imported_masks import import_lape_neurons as import_lape_neurons
from .imported_masks import import_released_masks as import_released_masks
from .layers import FFNLayer as FFNLayer
from .layers import find_ffn_layers as find_ffn_layers
from .mask_comparison import MaskComparison as MaskComparison
from .mask_comparison import compare_masks as compare_masks
from .mask_overlap import pairwise_iou as pairwise_iou
from .masks import NeuronMasks as NeuronMasks
from .neuron_lists import read_neurons as read_neurons
from .observer import Observer as Observer
from .recording import record_activations as record_activations
from .rules import RULES as RULES
from .rules import by_row as by_row
from .selection import select_neurons as select_neurons

__all__ = [
    "ARCHITECTURES",
    "RULES",
    "ActivationCounts",
    "Activity",
    "Architecture",
    "Example",
    "Examples",
    "FFNLayer",
    "Form",
    "MaskComparison",
    "NeuronMasks",
    "Observer",
    "by_row",
    "compare_masks",
    "find_examples",
    "find_ffn_layers",
    "import_lape_neurons",
    "import_released_masks",
    "pairwise_iou",
    "read_neurons",
    "record_activations",
    "select_neurons",
]
