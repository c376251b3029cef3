"""Exporting a model for one direction, or its masks, to formats of other tools, each proven equal before it appears."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
