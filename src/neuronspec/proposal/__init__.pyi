from .discovery import discover as discover
from .found import Discovery as Discovery
from .found import FoundCorpus as FoundCorpus
from .listing import LeftOut as LeftOut

__all__ = [
    "Discovery",
    "FoundCorpus",
    "LeftOut",
    "discover",
]
