from .ablation import Ablation as Ablation
from .ablation import ablate as ablate
from .ablation_masks import choose_own_neurons as choose_own_neurons
from .ablation_masks import make_ablation_masks as make_ablation_masks
from .ablation_metrics import AblationMetric as AblationMetric
from .ablation_metrics import measuring_chrf as measuring_chrf
from .ablation_metrics import measuring_loss as measuring_loss
from .chance import Chance as Chance
from .chance import chance_overlap as chance_overlap
from .compared_tasks import ComparedTasks as ComparedTasks
from .compared_tasks import choose_tasks as choose_tasks
from .compared_tasks import choose_tasks_by_stack as choose_tasks_by_stack
from .compared_tasks import has_pivot as has_pivot
from .distances import family_distances as family_distances
from .distances import script_distances as script_distances
from .distances import vocabulary_distances as vocabulary_distances
from .lape_experiment import LapeOptions as LapeOptions
from .lape_experiment import measure_lape as measure_lape
from .layer_measures import LayerMeasures as LayerMeasures
from .measures import Measures as Measures
from .measures import analyze as analyze
from .overlap import above_diagonal as above_diagonal
from .overlap import within_and_across as within_and_across
from .perplexity_matrix import PerplexityMatrix as PerplexityMatrix
from .reliability import measure_learning_curve as measure_learning_curve
from .reliability import split_halves as split_halves
from .resampling import bootstrap_iou as bootstrap_iou
from .resampling import shuffle_null as shuffle_null
from .reselection import make_selector as make_selector
from .sentence_states import SentenceStates as SentenceStates
from .structure import Structure as Structure
from .token_counts import count_tokens as count_tokens
from .tree import Tree as Tree
from .tree import language_tree as language_tree

__all__ = [
    "Ablation",
    "AblationMetric",
    "Chance",
    "ComparedTasks",
    "LapeOptions",
    "LayerMeasures",
    "Measures",
    "PerplexityMatrix",
    "SentenceStates",
    "Structure",
    "Tree",
    "ablate",
    "above_diagonal",
    "analyze",
    "bootstrap_iou",
    "chance_overlap",
    "choose_own_neurons",
    "choose_tasks",
    "choose_tasks_by_stack",
    "count_tokens",
    "family_distances",
    "has_pivot",
    "language_tree",
    "make_ablation_masks",
    "make_selector",
    "measure_lape",
    "measure_learning_curve",
    "measuring_chrf",
    "measuring_loss",
    "script_distances",
    "shuffle_null",
    "split_halves",
    "vocabulary_distances",
    "within_and_across",
]
