from .engine import Stage as Stage
from .engine import run_stages as run_stages
from .layout import Layout as Layout
from .plan import execute_stages as execute_stages
from .plan import plan_stages as plan_stages
from .run import Run as Run
from .run import open_run as open_run

__all__ = [
    "Layout",
    "Run",
    "Stage",
    "execute_stages",
    "open_run",
    "plan_stages",
    "run_stages",
]
