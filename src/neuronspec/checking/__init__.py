"""Checks before work: text, vocabulary, tags, settings, masks and machines, each problem with its fix."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
