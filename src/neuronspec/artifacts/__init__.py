"""The files that neuronspec writes and reads back: tensors with a typed header, JSON lines, and copies on the hub."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
