"""The pipeline: from corpora to report, stage by stage, each done once."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
