from .batches import IGNORED as IGNORED
from .batches import BatchDataset as BatchDataset
from .batches import TaskData as TaskData
from .batches import Tensors as Tensors
from .batches import collate as collate
from .batches import pad as pad
from .cleaning import clean_pairs as clean_pairs
from .corpora import CORPUS_FORMATS as CORPUS_FORMATS
from .corpora import read_pairs as read_pairs
from .corpus_formats import CorpusFormat as CorpusFormat
from .corpus_formats import Pair as Pair
from .corpus_formats import register_format as register_format
from .holdout import held_out_share as held_out_share
from .normalization import comparison_form as comparison_form
from .normalization import is_empty as is_empty
from .normalization import normalize_text as normalize_text
from .preparation import prepare_text as prepare_text
from .sampling import Batch as Batch
from .sampling import BatchSampler as BatchSampler
from .sampling import Cursor as Cursor
from .sampling import cut_by_tokens as cut_by_tokens
from .sampling import temperature_weights as temperature_weights
from .store import TokenStore as TokenStore
from .store import build_store as build_store
from .streams import open_bytes as open_bytes
from .streams import read_lines as read_lines
from .task_format import TaskFormat as TaskFormat
from .task_format import special_ids as special_ids
from .templates import fill_template as fill_template
from .templates import find_tasks as find_tasks
from .templates import list_grid as list_grid
from .test_sets import read_test_set as read_test_set
from .texts import Texts as Texts
from .texts import assign_pairs as assign_pairs
from .vocabulary import learn_vocabulary as learn_vocabulary
from .vocabulary import sample_sentences as sample_sentences

__all__ = [
    "CORPUS_FORMATS",
    "IGNORED",
    "Batch",
    "BatchDataset",
    "BatchSampler",
    "CorpusFormat",
    "Cursor",
    "Pair",
    "TaskData",
    "TaskFormat",
    "Tensors",
    "Texts",
    "TokenStore",
    "assign_pairs",
    "build_store",
    "clean_pairs",
    "collate",
    "comparison_form",
    "cut_by_tokens",
    "fill_template",
    "find_tasks",
    "held_out_share",
    "is_empty",
    "learn_vocabulary",
    "list_grid",
    "normalize_text",
    "open_bytes",
    "pad",
    "prepare_text",
    "read_lines",
    "read_pairs",
    "read_test_set",
    "register_format",
    "sample_sentences",
    "special_ids",
    "temperature_weights",
]
