"""Models: building the paper's, loading pretrained ones, and turning text into what a model reads."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
