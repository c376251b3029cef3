"""Proposing a run for files: the corpora in them, settings that fit, and the configuration as commented YAML."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
