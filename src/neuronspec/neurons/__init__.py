"""The neurons of a model: where they live, when they are active, and which are specialized for which task."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
