from .checkpoints import Checkpoints as Checkpoints
from .journal import read_log as read_log
from .loop import TrainingState as TrainingState
from .loop import train as train
from .method import Corpora as Corpora
from .method import Method as Method
from .method import Resources as Resources
from .method import SearchResources as SearchResources
from .objective import TranslationLoss as TranslationLoss
from .objective import token_losses as token_losses
from .schedule import learning_rate as learning_rate
from .speed import Speed as Speed
from .speed import estimate_disk as estimate_disk
from .speed import estimate_memory as estimate_memory
from .speed import estimate_seconds as estimate_seconds
from .speed import measure_speed as measure_speed
from .validation import validate_tasks as validate_tasks

__all__ = [
    "Checkpoints",
    "Corpora",
    "Method",
    "Resources",
    "SearchResources",
    "Speed",
    "TrainingState",
    "TranslationLoss",
    "estimate_disk",
    "estimate_memory",
    "estimate_seconds",
    "learning_rate",
    "measure_speed",
    "read_log",
    "token_losses",
    "train",
    "validate_tasks",
]
