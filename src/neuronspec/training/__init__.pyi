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
from .validation import validate_tasks as validate_tasks

__all__ = [
    "Checkpoints",
    "Corpora",
    "Method",
    "Resources",
    "SearchResources",
    "TrainingState",
    "TranslationLoss",
    "learning_rate",
    "read_log",
    "token_losses",
    "train",
    "validate_tasks",
]
