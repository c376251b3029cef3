"""Translating for others over HTTP: LibreTranslate's API and one of our own, batched across requests."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
