"""Work that is divided into tasks: done in this process, by local processes, or by the workers of a cluster."""

from neuronspec.executors.keeping import keep_open
from neuronspec.executors.opening import Workers, current_workers, open_executor, use_workers
from neuronspec.executors.tasks import count_workers, has_workers, in_worker, map_ordered

__all__ = [
    "Workers",
    "count_workers",
    "current_workers",
    "has_workers",
    "in_worker",
    "keep_open",
    "map_ordered",
    "open_executor",
    "use_workers",
]
