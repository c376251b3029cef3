from .building import build_model as build_model
from .building import count_parameters as count_parameters
from .codec import TextCodec as TextCodec
from .directories import check_directory as check_directory
from .embeddings import tie_embeddings as tie_embeddings
from .fairseq.importing import import_fairseq as import_fairseq
from .loading import load_configuration as load_configuration
from .loading import load_model as load_model
from .loading import load_tokenizer as load_tokenizer
from .loading import save_model as save_model
from .nonfinite import check_finite as check_finite
from .nonfinite import find_nonfinite as find_nonfinite
from .padding import complete_batch as complete_batch
from .peft_wrapping import unwrap_model as unwrap_model
from .presets import PRESETS as PRESETS
from .presets import Preset as Preset
from .source_prefixes import SourcePrefix as SourcePrefix
from .tags import list_tags as list_tags
from .text_batches import make_batches as make_batches

__all__ = [
    "PRESETS",
    "Preset",
    "SourcePrefix",
    "TextCodec",
    "build_model",
    "check_directory",
    "check_finite",
    "complete_batch",
    "count_parameters",
    "find_nonfinite",
    "import_fairseq",
    "list_tags",
    "load_configuration",
    "load_model",
    "load_tokenizer",
    "make_batches",
    "save_model",
    "tie_embeddings",
    "unwrap_model",
]
