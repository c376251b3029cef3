"""Statistics of systems and overlaps: paired tests, corrections, the Mantel test, separation of groups, trends."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
