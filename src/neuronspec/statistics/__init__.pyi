from .corrections import CORRECTIONS as CORRECTIONS
from .corrections import Correction as Correction
from .corrections import benjamini_hochberg as benjamini_hochberg
from .corrections import holm as holm
from .corrections import uncorrected as uncorrected
from .correlation import CORRELATIONS as CORRELATIONS
from .correlation import Correlation as Correlation
from .correlation import correlate as correlate
from .correlation import mantel as mantel
from .paired import PairedTest as PairedTest
from .paired import compare_groups as compare_groups
from .paired import paired_approximate_randomization as paired_approximate_randomization
from .paired import paired_bootstrap as paired_bootstrap
from .score_intervals import find_interval as find_interval
from .score_intervals import resample_scores as resample_scores
from .separation import Separation as Separation
from .separation import adjusted_rand as adjusted_rand
from .separation import separate as separate
from .separation import silhouette as silhouette
from .trends import Trend as Trend
from .trends import find_trend as find_trend

__all__ = [
    "CORRECTIONS",
    "CORRELATIONS",
    "Correction",
    "Correlation",
    "PairedTest",
    "Separation",
    "Trend",
    "adjusted_rand",
    "benjamini_hochberg",
    "compare_groups",
    "correlate",
    "find_interval",
    "find_trend",
    "holm",
    "mantel",
    "paired_approximate_randomization",
    "paired_bootstrap",
    "resample_scores",
    "separate",
    "silhouette",
    "uncorrected",
]
