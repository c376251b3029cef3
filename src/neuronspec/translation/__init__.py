"""Translating with a model, specialized or not: sentences, files and grids of directions, with any engine."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
