from .engine import Stage as Stage
from .engine import run_stages as run_stages
from .layout import Layout as Layout
from .plan import execute_stages as execute_stages
from .plan import plan_stages as plan_stages
from .run import Run as Run
from .run import open_run as open_run
from .sweeps import Sweep as Sweep
from .sweeps import open_sweep as open_sweep

__all__ = [
    "Layout",
    "Run",
    "Stage",
    "Sweep",
    "execute_stages",
    "open_run",
    "open_sweep",
    "plan_stages",
    "run_stages",
]
