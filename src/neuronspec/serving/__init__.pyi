from .app import make_app as make_app
from .engine import Sentence as Sentence
from .engine import ServingEngine as ServingEngine
from .engine import UnavailableError as UnavailableError
from .limits import ServingLimits as ServingLimits
from .opening import open_exports as open_exports
from .opening import open_serving_engine as open_serving_engine
from .options import ServingOptions as ServingOptions
from .server import serve as serve

__all__ = [
    "Sentence",
    "ServingEngine",
    "ServingLimits",
    "ServingOptions",
    "UnavailableError",
    "make_app",
    "open_exports",
    "open_serving_engine",
    "serve",
]
