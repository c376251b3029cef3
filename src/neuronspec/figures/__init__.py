"""Figures of neurons and of scores, as SVG, PNG and PDF, with the numbers behind them as CSV."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
