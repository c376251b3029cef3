from .auto_k import K_GRID as K_GRID
from .auto_k import KCurve as KCurve
from .auto_k import search_k as search_k
from .collator import TaskCollator as TaskCollator
from .masking import attach_masks as attach_masks
from .masking import get_masks as get_masks
from .masking import specialize as specialize
from .momentum import hold_absent_neurons as hold_absent_neurons
from .pruning import prune as prune
from .routing import assign_tasks as assign_tasks
from .routing import dense as dense
from .routing import task as task
from .routing import unspecialize as unspecialize
from .steering import Steering as Steering
from .steering import steer as steer
from .steering_files import read_steerings as read_steerings

__all__ = [
    "K_GRID",
    "KCurve",
    "Steering",
    "TaskCollator",
    "assign_tasks",
    "attach_masks",
    "dense",
    "get_masks",
    "hold_absent_neurons",
    "prune",
    "read_steerings",
    "search_k",
    "specialize",
    "steer",
    "task",
    "unspecialize",
]
