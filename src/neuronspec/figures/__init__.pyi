from .ablation_matrix import draw_ablation as draw_ablation
from .ablation_matrix import draw_perplexities as draw_perplexities
from .correlations import LayerCorrelation as LayerCorrelation
from .correlations import draw_correlations as draw_correlations
from .family_colors import FAMILY_COLORS as FAMILY_COLORS
from .family_colors import FamilyColor as FamilyColor
from .gains import draw_gains as draw_gains
from .heatmap import draw_heatmap as draw_heatmap
from .key_gains import GainPoint as GainPoint
from .key_gains import draw_key_gains as draw_key_gains
from .language_tree import draw_tree as draw_tree
from .learning_curve import draw_learning_curve as draw_learning_curve
from .neuron_figures import draw_neuron_figures as draw_neuron_figures
from .progression import draw_progression as draw_progression
from .score_figures import draw_score_figures as draw_score_figures
from .shares import SharePoint as SharePoint
from .shares import draw_shares as draw_shares
from .sparsity import draw_sparsity as draw_sparsity
from .training_curves import draw_training_curves as draw_training_curves
from .zero_shot_scores import draw_zero_shot as draw_zero_shot

__all__ = [
    "FAMILY_COLORS",
    "FamilyColor",
    "GainPoint",
    "LayerCorrelation",
    "SharePoint",
    "draw_ablation",
    "draw_correlations",
    "draw_gains",
    "draw_heatmap",
    "draw_key_gains",
    "draw_learning_curve",
    "draw_neuron_figures",
    "draw_perplexities",
    "draw_progression",
    "draw_score_figures",
    "draw_shares",
    "draw_sparsity",
    "draw_training_curves",
    "draw_tree",
    "draw_zero_shot",
]
