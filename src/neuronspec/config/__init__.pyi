from .loading import NeuronSections as NeuronSections
from .loading import find_config as find_config
from .loading import find_recipe as find_recipe
from .loading import holds_run as holds_run
from .loading import load_config as load_config
from .loading import load_sections as load_sections
from .schema import Config as Config
from .sections import Section as Section

__all__ = [
    "Config",
    "NeuronSections",
    "Section",
    "find_config",
    "find_recipe",
    "holds_run",
    "load_config",
    "load_sections",
]
