"""neuronspec: find the language-specific neurons of a multilingual Transformer, and put them to work."""

import lazy_loader

# The public names are listed in `__init__.pyi`; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
