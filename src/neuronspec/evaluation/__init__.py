"""Evaluation of one system: BLEU, chrF++, TER, COMET, broken translations, and results kept for comparisons."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
