from .comet import Comet as Comet
from .comet import CometScores as CometScores
from .comet import comet_scores as comet_scores
from .identifiers import IDENTIFIERS as IDENTIFIERS
from .identifiers import Identifier as Identifier
from .metric import Metric as Metric
from .metric import MetricOptions as MetricOptions
from .metric import mean_score as mean_score
from .metric import mean_statistics as mean_statistics
from .metrics import METRICS as METRICS
from .metrics import find_scoring as find_scoring
from .outputs import OUTPUT_FORMATS as OUTPUT_FORMATS
from .outputs import OutputContent as OutputContent
from .outputs import Outputs as Outputs
from .outputs import read_outputs as read_outputs
from .quality import Quality as Quality
from .quality import assess as assess
from .quality import looks_tokenized as looks_tokenized
from .results import Results as Results
from .results import SystemQuality as SystemQuality
from .results import SystemScore as SystemScore
from .results import merge_results as merge_results
from .sacrebleu_metrics import sentencepiece_bleu as sentencepiece_bleu
from .scoring import Score as Score
from .scoring import open_metrics as open_metrics
from .scoring import score as score
from .scoring import score_task as score_task

__all__ = [
    "IDENTIFIERS",
    "METRICS",
    "OUTPUT_FORMATS",
    "Comet",
    "CometScores",
    "Identifier",
    "Metric",
    "MetricOptions",
    "OutputContent",
    "Outputs",
    "Quality",
    "Results",
    "Score",
    "SystemQuality",
    "SystemScore",
    "assess",
    "comet_scores",
    "find_scoring",
    "looks_tokenized",
    "mean_score",
    "mean_statistics",
    "merge_results",
    "open_metrics",
    "read_outputs",
    "score",
    "score_task",
    "sentencepiece_bleu",
]
